"""GFM, https://arxiv.org/abs/2010.16188, with RSSN, its composition route.

python launch.py --config configs/gfm.py               the embedded sample: two cores, 20 min,
                                                       MAD 0.52 -> 0.23 (best constant: 0.29)
python launch.py --config configs/gfm.py:am2k_ori      ORI-Track: AM-2k's photos
python launch.py --config configs/gfm.py:am2k_comp_rssn
                                                       COMP-Track: AM-2k over BG-20k by RSSN
python launch.py --config configs/gfm.py:am2k_comp_coco
                                                       COMP-Track: AM-2k over COCO

The last three start from torchvision's file of the backbone (--config.init.backbone=FILE), and look
for the data sets of docs/data.md in --config.data.directory=DIR, or take folders of your own
(--config.data.train.images, or .foregrounds and .backgrounds; --config.data.test.images). AM-2k has
1800 photos of animals to train on and 200 to test on. The released recipe: Adam at 1e-5, batches of
32, 500 epochs of ORI-Track, 100 of COMP-Track. Ablations are fields: the composition route with
--config.synthesis.rssn.sharpness=0, .noise=0 and .denoise=0, the network with
--config.model.pyramid_pooling=False and --config.model.bridge_block=False.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "am2k_ori", "am2k_comp_rssn", "am2k_comp_coco")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "gfm"
    config.seed = 0
    config.steps = 5625  # 100 epochs of 1800
    config.batch_size = 32
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    # backbone: or "resnet34_2b", "densenet121", "resnet101"; rosta: or "ft", "bt", "rim"
    config.model = ConfigDict(dict(backbone="resnet34", rosta="tt"))
    config.model.pyramid_pooling = config.model.bridge_block = True
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files or workdirs to start from
    config.init.model = ConfigDict()  # in what the checkpoint's network differs from `model`

    # Weights of the released trainer, for rosta rim 1 each; 0 leaves out.
    config.task = ConfigDict(dict(name="gfm", glance_weight=0.25, focus_weight=0.25))
    config.task.fusion_weight = config.task.composition_weight = 0.25
    # or "released": classes of ft and bt that contradict how alpha is made of them
    config.task.targets = "consistent"
    # trimap_kernel: px of the crop, drawn from smallest to largest; those of ft and bt are twice
    config.synthesis = ConfigDict(dict(flip=0.5, trimap_kernel=(25, 25)))
    # RSSN: chances of a blurred background, of noise on both parts, of denoised copies of both.
    config.synthesis.rssn = ConfigDict(dict(sharpness=0.0, noise=0.0, denoise=0.0))
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px of the crop
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer = ConfigDict(dict(name="adam", learning_rate=1e-5))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.999, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 0.0  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "all"  # or "kernels": neither biases nor scales of normalisations
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 0.0  # above 0: the largest norm by its moving mean, as GCA's
    config.optimizer.schedule = ConfigDict(dict(name="constant", warmup_steps=0))
    config.optimizer.schedule.first_step = 0  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.step_every = 0  # step
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    config.optimizer.module_rates = ConfigDict(dict(backbone=1.0, glance=1.0, focus=1.0))

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "estimate"  # or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    # Backgrounds of another data set than the foregrounds.
    config.data.train.background_dataset, config.data.train.background_split = "", "train"
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.crop = ConfigDict(dict(size=320, corners=(640, 960, 1280), around="unknown"))
    # strategy: or "resize"; scales: of the photo for glance and focus; exact: hybrid as released,
    # with its rounding
    config.test_time = ConfigDict(dict(strategy="hybrid", scales=(1 / 3, 1 / 2), exact=False))

    config.log_every = 100
    config.evaluate_every = 1000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant.startswith("am2k"):
        # 25 pixels of a photo whose windows of 640 to 1280 become 320
        config.synthesis.trimap_kernel = (6, 12)
        config.data.test.dataset, config.data.test.split = "am2k/validation", "validation"
    if variant == "am2k_ori":
        config.steps = 28_125  # 500 epochs
        config.data.train.dataset = "am2k/photos"
    if variant == "am2k_comp_rssn":
        config.synthesis.rssn.sharpness = config.synthesis.rssn.noise = 0.5
        config.synthesis.rssn.denoise = 0.5
        # 20 to 60 pixels of the photo
        config.synthesis.rssn.blur_sizes = (7, 10, 13, 17, 20)
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
        config.optimizer.schedule.name = "poly"
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop = ConfigDict(dict(size=96, rescale=(96, 160), around="anywhere"))
        config.test_time.scales = (1 / 4, 1 / 3)
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
