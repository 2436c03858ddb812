"""PP-Matting, https://arxiv.org/abs/2204.09433.

python launch.py --config configs/pp_matting.py        the embedded sample: 17 min of CPU time,
                                                       MAD 0.71 -> 0.22 (best constant: 0.29)
python launch.py --config configs/pp_matting.py:paper --config.init.backbone=hrnet_w48.pdparams \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the paper's losses on photos of your own
python launch.py --config configs/pp_matting.py:official           the released trainer's weights
python launch.py --config configs/pp_matting.py:composition_1k     ... on Adobe's data over COCO
python launch.py --config configs/pp_matting.py:distinctions_646   ... on Distinctions-646
python launch.py --config configs/pp_matting.py:human \\
    --config.data.train.images=DIR ...                 the smaller network for people

The backbone is model.pdparams of hrnet_w48_ssld.tar.gz (of hrnet_w18_ssld.tar.gz for `:human`), at
bj.bcebos.com/paddleseg/dygraph/. 300,000 steps of four crops on one GPU; the scores of the last
steps differ, and the best is reported: SAD 46.22 on Composition-1k, 40.69 on Distinctions-646, over
whole images. The data of `:human` are private; PaddleSeg's own example takes PPM-100. Its larger
form has --config.data.crop.size=1024 --config.data.crop.windows=(1024,)
--config.data.crop.max_short=1024 --config.test_time.max_short=1024. The lists of PaddleSeg are read
by --config.data.train.list=FILE and --config.data.test.list=FILE in place of any folder.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "paper", "official", "composition_1k", "distinctions_646", "human")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "pp_matting"
    config.seed = 0
    config.steps = 300_000
    config.batch_size = 4
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    config.model = ConfigDict(dict(backbone="hrnet_w48"))  # or "hrnet_w18"
    config.model.guidance = True  # False: a detail branch without the semantic one's guides
    config.model.pyramid_pooling = True
    config.model.detail = True  # False: alpha from the classes alone
    config.model.rematerialise = False  # True: less memory and more time a step
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files or workdirs to start from
    config.init.model = ConfigDict()  # in what the checkpoint's network differs from `model`

    config.task = ConfigDict(dict(name="pp_matting"))
    # The released trainer's weights; 0 leaves a loss out.
    config.task.semantic_weight = config.task.detail_weight = config.task.fusion_weight = 0.25
    # Chances of each change; the trimap's ellipse in px and how often it dilates.
    config.synthesis = ConfigDict(dict(flip=0.5, blur=0.1, sharpen=0.0, noise=0.0, jpeg=0.0))
    config.synthesis.trimap_kernel, config.synthesis.trimap_iterations = (2, 4), (5, 14)
    config.synthesis.distort = ConfigDict(
        dict(chance=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=18 / 255)
    )
    # RSSN, GFM's composition route: chances of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = ConfigDict(dict(sharpness=0.0, noise=0.0, denoise=0.0))
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer = ConfigDict(dict(name="sgd", learning_rate=0.01))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.999, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 4e-5  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "all"  # or "kernels": neither biases nor scales of normalisations
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 0.0  # above 0: the largest norm by its moving mean, as GCA's
    config.optimizer.schedule = ConfigDict(dict(name="poly", warmup_steps=0))
    config.optimizer.schedule.first_step = 0  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.step_every = 0  # step
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    config.optimizer.module_rates = ConfigDict(dict(backbone=1.0, scb=1.0))

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "as_is"  # or "estimate"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    # PaddleSeg's list of files, in place of folders: a line is foreground [background] [trimap]
    config.data.train.list, config.data.train.root, config.data.train.separator = "", "", "|"
    config.data.train.background_dataset = ""  # of TFDS, in place of a folder
    config.data.train.background_split = "train"
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.test.list, config.data.test.root, config.data.test.separator = "", "", "|"
    config.data.crop = ConfigDict(dict(size=512, windows=(512, 640, 800), around="anywhere"))
    config.data.crop.small = "pad"  # to `size`, as published; or "enlarge", to the window
    config.data.crop.max_short = 0  # above 0: short sides are reduced to it before
    config.test_time = ConfigDict(dict(max_short=1536))  # the short side is reduced to it

    config.log_every = 100
    config.evaluate_every = 5000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

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
        config.test_time.max_short = 512
    if variant == "sample":
        config.steps, config.batch_size = 800, 4
        config.model.backbone = "hrnet_w18"
        config.synthesis.trimap_iterations = (3, 6)
        config.optimizer.name, config.optimizer.learning_rate = "adam", 0.001
        config.optimizer.weight_decay = 0.0
        config.optimizer.schedule.warmup_steps = 30
        config.optimizer.module_rates.backbone = 0.2  # its kernels begin small
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop = ConfigDict(dict(size=96, rescale=(92, 112), around="anywhere"))
        config.test_time.max_short = 96
        config.log_every, config.evaluate_every, config.save_every = 50, 100, 200
    return config
