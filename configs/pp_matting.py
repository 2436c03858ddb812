"""PP-Matting, https://arxiv.org/abs/2204.09433.

python launch.py --config configs/pp_matting.py        the embedded sample: 17 min of CPU time,
                                                       MAD 0.71 -> 0.22 (best constant: 0.29)
python launch.py --config configs/pp_matting.py:paper --config.init.backbone=hrnet_w48.pdparams \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the paper's losses on your own photos
python launch.py --config configs/pp_matting.py:official           the released trainer's weights
python launch.py --config configs/pp_matting.py:composition_1k     ... on Adobe's data over COCO
python launch.py --config configs/pp_matting.py:distinctions_646   ... on Distinctions-646
python launch.py --config configs/pp_matting.py:human \\
    --config.data.train.images=DIR ...                 the smaller network for people

The backbone is model.pdparams of hrnet_w48_ssld.tar.gz (of hrnet_w18_ssld.tar.gz for `:human`), at
bj.bcebos.com/paddleseg/dygraph/. Training takes 300,000 steps of four crops on one GPU. Scores vary
towards the end, and the best is reported: SAD 46.22 on Composition-1k and 40.69 on
Distinctions-646, over the entire image.

The data of `:human` are private. PaddleSeg's own example uses PPM-100. The larger form is
--config.data.crop.size=1024 "--config.data.crop.windows=(1024,)" --config.data.crop.max_short=1024,
and prediction follows it. --config.data.train.list=FILE and --config.data.test.list=FILE read
PaddleSeg's list files instead of folders.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults, follow

VARIANTS = ("sample", "paper", "official", "composition_1k", "distinctions_646", "human")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "pp_matting"
    config.steps = 300_000
    config.batch_size = 4
    config.model.backbone = "hrnet_w48"  # or "hrnet_w18"
    config.model.guidance = True  # False: the semantic branch does not guide the detail branch
    config.model.pyramid_pooling = True
    config.model.detail = True  # False: alpha from the classes only
    config.model.rematerialise = False  # True: less memory, more time per step

    # The released trainer's weights. 0 omits a loss.
    config.task.name = "pp_matting"
    config.task.semantic_weight = config.task.detail_weight = config.task.fusion_weight = 0.25
    config.synthesis = dict(flip=0.5, blur=0.1, sharpen=0.0, noise=0.0, jpeg=0.0)  # probabilities
    config.synthesis.trimap_kernel = (2, 4)  # px
    config.synthesis.trimap_iterations = (5, 14)  # dilations
    config.synthesis.distort = dict(
        chance=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=18 / 255
    )
    # RSSN of GFM: probabilities of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = dict(sharpness=0.0, noise=0.0, denoise=0.0)
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer.update(name="sgd", learning_rate=0.01, momentum=0.9, weight_decay=4e-5)
    config.optimizer.schedule.update(name="poly", power=0.9)
    config.optimizer.module_rates = dict(backbone=1.0, scb=1.0)

    config.data.foreground_colours = "as_is"
    config.data.train.separator = config.data.test.separator = "|"
    config.data.crop.update(size=512, windows=(512, 640, 800))
    config.data.crop.small = "pad"  # to `size`, as published; or "enlarge", to the window
    config.data.crop.max_short = 0  # larger short sides are first reduced to it; 0: no limit
    config.test_time.max_short = 1536  # larger short sides are reduced to it

    if variant == "paper":
        config.task.semantic_weight = config.task.detail_weight = config.task.fusion_weight = 1.0
        config.data.crop.around = "unknown"
    if variant in ("composition_1k", "distinctions_646"):
        config.data.train.dataset = f"{variant}/foregrounds"
        config.data.test.dataset = f"{variant}/composites"
        config.data.train.background_dataset = "coco/2017"
    if variant == "human":
        config.steps = 200_000
        config.model.backbone = "hrnet_w18"
        config.synthesis.noise, config.synthesis.jpeg = 0.5, 0.2
        config.data.train.separator = config.data.test.separator = " "
        config.data.crop.windows, config.data.crop.max_short = (512,), 512
        config.test_time.max_short = follow(config.data.crop, "max_short")  # px, unless it is set
    if variant == "sample":
        config.steps, config.batch_size = 800, 4
        config.model.backbone = "hrnet_w18"
        config.synthesis.trimap_iterations = (3, 6)
        config.optimizer.update(name="adam", learning_rate=0.001, weight_decay=0.0)
        config.optimizer.schedule.warmup_steps = 30
        config.optimizer.module_rates.backbone = 0.2  # its initial kernels are small
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        del config.data.crop.windows
        config.data.crop.update(size=96, rescale=(92, 112), small="enlarge", max_short=0)
        config.test_time.max_short = follow(config.data.crop, "size")  # px, unless it is set
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 100, 200
    return config
