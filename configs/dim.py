"""Deep Image Matting, https://arxiv.org/abs/1703.03872.

python launch.py --config configs/dim.py               the embedded sample: 20 min of CPU time,
                                                       MAD where unknown 0.41 -> 0.36; slow,
                                                       since it begins without VGG-16's weights
python launch.py --config configs/dim.py:encoder_decoder --config.init.backbone=vgg16.pth \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the first stage of the paper
python launch.py --config configs/dim.py:refinement \\
    --config.init.checkpoint=runs/dim_encoder_decoder ...    the second: the refiner alone
python launch.py --config configs/dim.py:finetune \\
    --config.init.checkpoint=runs/dim_refinement ...   the third: both

A stage begins with a workdir of the one before, or with an official file of it. Numbers are those
of mmagic, whose files they made: a million steps of one crop each, and the best of all scores is
reported, which swing from one to the next. vgg16.pth is torchvision's, or mmagic's
vgg_state_dict.pth. Adobe's 431 foregrounds over COCO, and Composition-1k to test on:
--config.data.train.dataset=composition_1k/foregrounds
--config.data.train.background_dataset=coco/2017
--config.data.test.dataset=composition_1k/composites in place of the folders.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "encoder_decoder", "refinement", "finetune")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "dim"
    config.seed = 0
    config.steps = 1_000_000
    config.batch_size = 1
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    config.model = ConfigDict(dict(refine=True))  # False: the first stage alone
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files or workdirs to start from
    config.init.model = ConfigDict()  # in what the checkpoint's network differs from `model`

    config.task = ConfigDict(dict(name="dim", alpha_weight=0.5, composition_weight=0.5))
    config.task.refinement_weight = 1.0  # 0 leaves a loss out
    config.synthesis = ConfigDict(dict(flip=0.5, trimap_kernel=(1, 29)))  # px
    # RSSN, GFM's composition route: chances of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = ConfigDict(dict(sharpness=0.0, noise=0.0, denoise=0.0))
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
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
    config.optimizer.module_rates = ConfigDict(dict(backbone=1.0))  # encoder and decoder

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "estimate"  # or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.train.background_dataset = ""  # of TFDS, in place of a folder
    config.data.train.background_split = "train"
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.test.trimap_distance = 12  # px around soft alpha, where the data has no trimaps
    config.data.crop = ConfigDict(dict(size=320, windows=(320, 480, 640), around="unknown"))
    config.test_time = ConfigDict()

    config.log_every = 100
    config.evaluate_every = 40_000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "encoder_decoder":
        config.model.refine = False
    if variant == "refinement":
        config.init.model.refine = False
        config.task.alpha_weight = config.task.composition_weight = 0.0
        config.optimizer.module_rates.backbone = 0.0
    if variant == "sample":
        config.steps, config.batch_size = 600, 4
        config.synthesis.trimap_kernel = (1, 9)
        config.optimizer.learning_rate = 1e-4
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.windows = 64, (64, 96, 128)
        config.log_every, config.evaluate_every, config.save_every = 50, 200, 200
    return config
