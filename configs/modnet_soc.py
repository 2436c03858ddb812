"""SOC: a trained MODNet adapts to photos of a new kind without alpha, arXiv 2011.11961.

python launch.py --config configs/modnet_soc.py \\
    --config.init.checkpoint=runs/modnet --config.data.train.photos=DIR
                                       a network trained on the embedded sample: two cores, 4 min
python launch.py --config configs/modnet_soc.py:official \\
    --config.init.checkpoint=modnet_photographic_portrait_matting.ckpt \\
    --config.data.train.photos=DIR     the released trainer's recipe on an official file
python launch.py --config configs/modnet_soc.py:paper ...
                                       the paper's two losses and its learning rate

The loss rises while the parts start to pull at each other, then falls slowly. Give
--config.data.test.images=DIR to see whether alpha gets better: on photos unlike those it adapts to
it may not. The authors adapt to all frames of some 400 videos, 10 epochs, one frame a step.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "official", "paper")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "modnet"
    config.seed = 0
    config.steps = 500_000  # 10 epochs of 50,000 frames
    config.batch_size = 1
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    config.model = ConfigDict(dict(context="se", flavour="official"))  # those of the checkpoint
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = True  # keep the running statistics; scale and bias still train
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint=""))  # a workdir, or an official file

    config.task = ConfigDict(dict(name="soc", form="official"))  # or "paper"
    config.task.refresh = "epoch"  # copy the network anew each epoch; or "never"
    config.task.semantic, config.task.detail = "semantic", "detail"  # outputs of the network
    config.task.classes = (1.0,)  # how much of each channel of the semantics is subject
    config.task.semantic_weight = 100.0
    config.task.detail_weight = config.task.matte_weight = 1.0

    config.optimizer = ConfigDict(dict(name="adam", learning_rate=1e-5))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.99, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 0.0  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "all"  # or "kernels": neither biases nor scales of normalisations
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 0.0  # above 0: the largest norm by its moving mean, as GCA's
    config.optimizer.schedule = ConfigDict(dict(name="constant", warmup_steps=0))
    config.optimizer.schedule.first_step = 0  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.step_every = 0  # step
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    config.optimizer.module_rates = ConfigDict(
        dict(backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0)
    )

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(dict(photos=""))  # a folder, with those below it
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))  # none is possible
    config.data.crop = ConfigDict(dict(size=512, rescale=(512, 768), around="anywhere"))
    config.test_time = ConfigDict(dict(reference_size=512))

    config.log_every = 100
    config.evaluate_every = 5000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "paper":
        config.task.form = "paper"
        config.task.semantic_weight = 1.0
        config.optimizer.learning_rate = 1e-4
    if variant == "sample":
        config.steps, config.batch_size = 400, 4
        config.task.semantic_weight = 5.0  # at 100 alpha follows what the sample teaches poorly
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.crop.size, config.data.crop.rescale = 96, (96, 144)
        config.test_time.reference_size = 96
        config.log_every, config.evaluate_every, config.save_every = 20, 100, 100
    return config
