"""GFM, https://arxiv.org/abs/2010.16188, and its composition route RSSN.

python launch.py --config configs/gfm.py               the embedded sample: 20 min on two cores,
                                                       MAD 0.52 -> 0.23 (best constant: 0.29)
python launch.py --config configs/gfm.py:am2k_ori      ORI-Track: AM-2k's photos
python launch.py --config configs/gfm.py:paper         the same with the network, losses and labels
                                                       of the paper
python launch.py --config configs/gfm.py:am2k_comp_rssn
                                                       COMP-Track: AM-2k over BG-20k with RSSN
python launch.py --config configs/gfm.py:am2k_comp_coco
                                                       COMP-Track: AM-2k over COCO

All but the first start from torchvision's backbone (--config.init.backbone=gfm:imagenet_r34).
They read the data sets of docs/data.md from --config.data.directory=DIR, or your own folders
(--config.data.train.images, or .foregrounds and .backgrounds; --config.data.test.images). AM-2k has
1800 photos of animals to train on and 200 to test on.

The released recipe uses Adam at 1e-5 and batches of 32, with 500 epochs of ORI-Track or 100 of
COMP-Track. The network of `:paper` does not fit the released checkpoints. Ablations are fields:
--config.synthesis.rssn.sharpness=0, .noise=0 and .denoise=0 for the composition route,
--config.model.pyramid_pooling=False and --config.model.bridge_block=False for the network.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults

VARIANTS = ("sample", "am2k_ori", "paper", "am2k_comp_rssn", "am2k_comp_coco")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "gfm"
    config.steps = 5625  # 100 epochs of 1800
    config.batch_size = 32
    config.model.backbone = "resnet34"  # or "resnet34_2b", "densenet121", "resnet101"
    config.model.rosta = "tt"  # or "ft", "bt", "rim"
    config.model.pyramid_pooling = config.model.bridge_block = True
    config.model.pyramid = "concatenate"  # or "sum", as in the paper; files need the first

    # The released trainer's weights, for rosta rim 1 each. 0 omits a loss.
    config.task.name = "gfm"
    config.task.glance_weight = config.task.focus_weight = 0.25
    config.task.fusion_weight = config.task.composition_weight = 0.25
    # or "released", whose classes of ft and bt contradict how alpha is made of them
    config.task.targets = "consistent"
    # cross entropy of the glance: "official", of its sigmoids, or "paper", of its logits
    config.task.glance_loss = "official"
    # where the focus learns: "official", in the trimap's unknown region, or "paper", for ft and bt
    # in what the glance leaves of the subject or adds to it
    config.task.regions = "official"
    # labels of the "crop", or of the whole "photo" by kernels of 25 px, of ft and bt 50 px
    config.task.labels_from = "crop"
    config.synthesis.flip = 0.5  # probability
    # px of the crop, sampled from smallest to largest; those of ft and bt are twice as large
    config.synthesis.trimap_kernel = (25, 25)
    # RSSN: probabilities of a blurred background, of noise and of denoised copies of both layers.
    config.synthesis.rssn = dict(sharpness=0.0, noise=0.0, denoise=0.0)
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px of the crop
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer.update(name="adam", learning_rate=1e-5)
    config.optimizer.module_rates = dict(backbone=1.0, glance=1.0, focus=1.0)

    config.data.crop.update(size=320, corners=(640, 960, 1280), around="unknown")
    config.test_time.strategy = "hybrid"  # or "resize"
    config.test_time.scales = (1 / 3, 1 / 2)  # of the photo, for glance and focus
    config.test_time.exact = False  # True: hybrid with the rounding of the released code
    config.evaluate_every = 1000

    if variant == "paper" or variant.startswith("am2k"):
        # 25 px of a photo whose windows of 640 to 1280 px become 320 px
        config.synthesis.trimap_kernel = (6, 12)
        config.data.test.update(dataset="am2k/validation", split="validation")
    if variant in ("am2k_ori", "paper"):
        config.steps = 28_125  # 500 epochs
        config.data.train.dataset = "am2k/photos"
    if variant == "paper":
        config.model.pyramid = "sum"
        config.task.glance_loss = config.task.regions = "paper"
        config.task.labels_from = "photo"
    if variant == "am2k_comp_rssn":
        config.synthesis.rssn.update(sharpness=0.5, noise=0.5, denoise=0.5)
        config.synthesis.rssn.blur_sizes = (7, 10, 13, 17, 20)  # 20 to 60 px of the photo
        config.data.train.dataset = "am2k/foregrounds_denoised"
        config.data.train.background_dataset = "bg20k/denoised"
    if variant == "am2k_comp_coco":
        config.data.train.dataset = "am2k/foregrounds"
        config.data.train.background_dataset = "coco/2017"
    if variant == "sample":
        config.steps, config.batch_size = 1000, 4
        config.synthesis.trimap_kernel = (3, 5)
        config.task.glance_weight = 1.0
        config.optimizer.learning_rate = 5e-4
        config.optimizer.schedule.update(name="poly", warmup_steps=50)
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        del config.data.crop.corners
        config.data.crop.update(size=96, rescale=(96, 160), around="anywhere")
        config.test_time.scales = (1 / 4, 1 / 3)
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
