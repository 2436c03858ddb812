"""BackgroundMattingV2, https://arxiv.org/abs/2012.07810.

python launch.py --config configs/bgmv2.py             the embedded sample: the base network first,
                                                       then both, at small sizes: 12 min, MAD
                                                       0.29 -> 0.11 (best constant: 0.29)
python launch.py --config configs/bgmv2.py:base --workdir runs/base \\
    --config.init.backbone=best_deeplabv3_resnet50_voc_os16.pth \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      stage 1, the base network alone
python launch.py --config configs/bgmv2.py:refine --config.init.checkpoint=runs/base ...
                                                       stage 2, both, from the first stage
python launch.py --config configs/bgmv2.py:refine --config.init.checkpoint=runs/refine \\
    --config.init.model.refine=True ...                stages 3 and 4, from a refined network

The authors train stages 1 and 2 on VideoMatte240K (8 epochs and 1), then the second alone on
PhotoMatte13K (25) and the humans of Distinctions-646 (30), over 8861 backgrounds that were never
released, as PhotoMatte13K was not. Their crops have any size; here each step takes the next of
eight, so that nothing is compiled twice.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "base", "refine")

# Height and width: 256 to 511 in the official recipe, whose sizes divide by nothing.
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
# 1024 to 2047 there.
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
    config = ConfigDict()
    config.name = "bgmv2"
    config.seed = 0
    config.steps = 60_000  # an epoch of VideoMatte240K
    config.batch_size = 4
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    # backbone: or "resnet101", "mobilenet_v2"; refine_mode: or "thresholding", "full"
    config.model = ConfigDict(dict(backbone="resnet50", refine=True, refine_mode="sampling"))
    config.model.backbone_scale, config.model.kernel_size = 0.25, 3
    config.model.sample_pixels = 80_000  # sampling; 0.125 and 320_000 are for 4K
    config.model.prevent_oversampling = True  # sampling
    config.model.threshold = 0.1  # thresholding
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    # Files to start from; model: in what the network of the checkpoint differs.
    config.init = ConfigDict(dict(checkpoint="", backbone="", model=dict(refine=False)))

    # base_steps: so many steps train the base network alone before those of both
    config.task = ConfigDict(dict(name="bgmv2", base_steps=0))
    layer = dict(flip=0.5, blur=0.1, blur_radius=5, sharpen=0.1)
    layer["jitter"] = dict(brightness=0.15, contrast=0.15, saturation=0.15, hue=0.05)
    turn = dict(rotation=5.0, shear=5.0, translation=0.1)
    config.synthesis = ConfigDict(dict(views=REFINE_VIEWS))  # () for the whole crop
    config.synthesis.foreground = ConfigDict({**layer, "affine": dict(turn, scale=(0.3, 1.0))})
    config.synthesis.background = ConfigDict({**layer, "affine": dict(turn, scale=(1.0, 2.0))})
    # What the captured background lacks, and in what it differs.
    config.synthesis.shadow = ConfigDict(dict(chance=0.3, strength=0.3, blur_size=(20, 39)))
    config.synthesis.shadow.affine = dict(turn, translation=0.2, scale=(0.5, 1.5))
    config.synthesis.noise = ConfigDict(dict(chance=0.4, deviation=0.03))
    config.synthesis.capture = ConfigDict()
    config.synthesis.capture.jitter = dict(
        chance=0.8, brightness=0.18, contrast=0.18, saturation=0.18, hue=0.1
    )
    config.synthesis.capture.affine = dict(
        chance=0.3, rotation=1.0, shear=0.0, translation=0.01, scale=(1.0, 1.0)
    )

    config.optimizer = ConfigDict(dict(name="adam", learning_rate=5e-5))
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
    config.optimizer.module_rates = ConfigDict(dict(backbone=1.0, aspp=1.0, decoder=2.0))
    config.optimizer.module_rates.refiner = 6.0

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "as_is"  # or "estimate", for photos that come with an alpha
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    # For foregrounds of a data set that has no backgrounds of its own.
    config.data.train.background_dataset, config.data.train.background_split = "", "train"
    config.data.test.background_dataset, config.data.test.background_split = "", "valid"
    # Whole foregrounds; the synthesis scales them. Backgrounds the crop has scaled once already.
    config.data.crop = ConfigDict(dict(size=2048, rescale=(2048, 2048), around="anywhere"))
    config.test_time = ConfigDict()

    config.log_every = 100
    config.evaluate_every = 2000
    config.save_every = 2000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "base":
        config.steps, config.batch_size = 240_000, 8  # 8 epochs of VideoMatte240K
        config.model.refine = False
        config.synthesis.views = BASE_VIEWS
        config.synthesis.foreground.affine.scale = (0.4, 1.0)
        config.optimizer.learning_rate = 1e-4
        config.optimizer.module_rates = ConfigDict(dict(backbone=1.0, aspp=5.0, decoder=5.0))
        config.data.crop.size, config.data.crop.rescale = 512, (512, 512)
        config.evaluate_every = config.save_every = 5000
    if variant == "sample":
        config.steps, config.task.base_steps = 1500, 1000
        config.model.backbone, config.model.sample_pixels = "mobilenet_v2", 8000
        config.synthesis.views = ()
        config.synthesis.foreground.affine.scale = (0.75, 1.25)
        config.synthesis.background.affine.scale = (1.0, 1.25)
        config.optimizer.learning_rate = 0.001
        config.optimizer.module_rates.update(dict(decoder=1.0, refiner=1.0))
        config.optimizer.schedule.name, config.optimizer.schedule.warmup_steps = "poly", 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.rescale = 384, (288, 384)
        config.data.crop.around = "foreground"
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
