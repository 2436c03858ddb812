"""BackgroundMattingV2, https://arxiv.org/abs/2012.07810.

python launch.py --config configs/bgmv2.py             the embedded sample: the base network, then
                                                       both networks, at small sizes; 12 min,
                                                       MAD 0.29 -> 0.11 (best constant: 0.29)
python launch.py --config configs/bgmv2.py:base --workdir runs/base \\
    --config.init.backbone=best_deeplabv3_resnet50_voc_os16.pth \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      stage 1: only the base network
python launch.py --config configs/bgmv2.py:refine --config.init.checkpoint=runs/base ...
                                                       stage 2: both, from the first stage
python launch.py --config configs/bgmv2.py:refine --config.init.checkpoint=runs/refine \\
    --config.init.model.refine=True ...                stages 3 and 4: from a refined network

The authors train stages 1 and 2 on VideoMatte240K (8 epochs and 1 epoch), stage 3 on PhotoMatte13K
(25) and stage 4 on the humans of Distinctions-646 (30). PhotoMatte13K and their 8861 backgrounds
were not released. Their crops have random sizes. Here each step uses the next of eight sizes, so
that only eight programs are compiled.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults

VARIANTS = ("sample", "base", "refine")

# Height and width. The official recipe samples 256 to 511, not multiples of anything.
BASE_VIEWS = (
    (256, 384),
    (288, 448),
    (320, 496),
    (352, 272),
    (384, 384),
    (416, 304),
    (448, 336),
    (496, 480),
)
# The official recipe samples 1024 to 2047.
REFINE_VIEWS = (
    (1024, 1728),
    (1152, 1984),
    (1280, 1152),
    (1408, 1856),
    (1536, 1344),
    (1728, 1728),
    (1856, 1472),
    (2016, 1216),
)


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "bgmv2"
    config.steps = 60_000  # an epoch of VideoMatte240K
    config.batch_size = 4
    config.model.backbone = "resnet50"  # or "resnet101", "mobilenet_v2"
    config.model.refine = True  # False: only the base network
    config.model.refine_mode = "sampling"  # or "thresholding", "full"
    config.model.backbone_scale, config.model.kernel_size = 0.25, 3
    config.model.sample_pixels = 80_000  # sampling; for 4K 320_000, at backbone_scale 0.125
    config.model.prevent_oversampling = True  # sampling
    config.model.threshold = 0.1  # thresholding
    config.init.model.refine = False  # stage 2 starts from a base network

    config.task.name = "bgmv2"
    config.task.base_steps = 0  # steps that train only the base network, before those of both
    # chance, flip, blur, sharpen: probabilities
    layer = dict(flip=0.5, blur=0.1, blur_radius=5, sharpen=0.1)
    layer["jitter"] = dict(brightness=0.15, contrast=0.15, saturation=0.15, hue=0.05)
    turn = dict(rotation=5.0, shear=5.0, translation=0.1)
    config.synthesis.views = REFINE_VIEWS  # () for the entire crop
    config.synthesis.foreground = {**layer, "affine": dict(turn, scale=(0.3, 1.0))}
    config.synthesis.background = {**layer, "affine": dict(turn, scale=(1.0, 2.0))}
    # How the composite differs from the captured background: shadow, noise, exposure, movement.
    config.synthesis.shadow = dict(chance=0.3, strength=0.3, blur_size=(20, 39))
    config.synthesis.shadow.affine = dict(turn, translation=0.2, scale=(0.5, 1.5))
    config.synthesis.noise = dict(chance=0.4, deviation=0.03)
    config.synthesis.capture = dict(
        jitter=dict(chance=0.8, brightness=0.18, contrast=0.18, saturation=0.18, hue=0.1),
        affine=dict(chance=0.3, rotation=1.0, shear=0.0, translation=0.01, scale=(1.0, 1.0)),
    )

    config.optimizer.update(name="adam", learning_rate=5e-5)
    config.optimizer.module_rates = dict(backbone=1.0, aspp=1.0, decoder=2.0, refiner=6.0)

    config.data.foreground_colours = "as_is"  # "estimate" for photos with an alpha
    # A crop holds the entire foreground; the synthesis scales it, and backgrounds once more.
    config.data.crop.update(size=2048, rescale=(2048, 2048))
    config.evaluate_every = config.save_every = 2000

    if variant == "base":
        config.steps, config.batch_size = 240_000, 8  # 8 epochs of VideoMatte240K
        config.model.refine = False
        config.synthesis.views = BASE_VIEWS
        config.synthesis.foreground.affine.scale = (0.4, 1.0)
        config.optimizer.learning_rate = 1e-4
        config.optimizer.module_rates = ConfigDict(dict(backbone=1.0, aspp=5.0, decoder=5.0))
        config.data.crop.update(size=512, rescale=(512, 512))
        config.evaluate_every = config.save_every = 5000
    if variant == "sample":
        config.steps, config.task.base_steps = 1500, 1000
        config.model.backbone, config.model.sample_pixels = "mobilenet_v2", 8000
        config.synthesis.views = ()
        config.synthesis.foreground.affine.scale = (0.75, 1.25)
        config.synthesis.background.affine.scale = (1.0, 1.25)
        config.optimizer.learning_rate = 0.001
        config.optimizer.module_rates.update(decoder=1.0, refiner=1.0)
        config.optimizer.schedule.update(name="poly", warmup_steps=50)
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.update(size=384, rescale=(288, 384), around="foreground")
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
