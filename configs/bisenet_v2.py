"""BiSeNet V2, https://arxiv.org/abs/2004.02147.

python launch.py --config configs/bisenet_v2.py        trimaps on the embedded sample, from nothing:
                                                       14 min of CPU time, mean IoU 0.05 -> 0.43
python launch.py --config configs/bisenet_v2.py:trimap \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      trimaps on your own photos
python launch.py --config configs/bisenet_v2.py:cityscapes \\
    --config.init.backbone=backbone_v2.pth             the published recipe for Cityscapes

The published rate, 0.005, is for branches trained on ImageNet: backbone_v2.pth of CoinCheung, or
a whole checkpoint, whose heads are left out. From nothing take the paper's, 0.05. Expected on
Cityscapes: mean IoU 74.95 (ss), 75.58 (ssc), 76.53 (msf), 77.08 (mscf); runs differ, 73.1 to 75.1.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "trimap", "cityscapes")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "bisenet_v2"
    config.seed = 0
    config.steps = 150_000
    config.batch_size = 16
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    config.model = ConfigDict(dict(num_classes=3, statistics="cityscapes"))  # or "coco", "ade20k",
    # "imagenet": the data whose mean and deviation normalise the image
    config.model.aggregation = "bga"  # or "sum", "concat"
    config.model.heads, config.model.booster = "official", True  # heads: or "paper"
    config.model.channel_ratio = 0.25  # of the semantic to the detail branch, in its first stages
    config.model.dropout = 0.1
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files to start from

    config.task = ConfigDict(dict(name="bisenet_v2", labels="trimap"))  # or "given"
    config.task.hard_probability = 0.7  # pixels whose class gets less count in the loss,
    config.task.hard_least = 16  # but at least one in 16
    config.task.evaluation = "ss"  # or "ssc", "msf", "mscf": scales, crops and flips
    config.task.window = 1024  # ssc, mscf
    config.synthesis = ConfigDict(dict(flip=0.5, trimap_kernel=(10, 40)))  # px, drawn for each side
    config.synthesis.jitter = ConfigDict(dict(brightness=0.4, contrast=0.4, saturation=0.4))

    config.optimizer = ConfigDict(dict(name="sgd", learning_rate=0.05))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.999, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 5e-4  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "kernels"  # neither biases nor scales of normalisations; or "all"
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 0.0  # above 0: the largest norm by its moving mean, as GCA's
    config.optimizer.schedule = ConfigDict(dict(name="poly", warmup_steps=1000))
    config.optimizer.schedule.first_step = 0  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.warmup_from = 0.1  # share of the rate; 0: linear from zero
    config.optimizer.schedule.step_every = 0  # step
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    # The published code trains its heads ten times as fast; the paper does not.
    config.optimizer.module_rates = ConfigDict(dict(detail=1.0, segment=1.0, bga=1.0, head=1.0))
    for head in ("aux2", "aux3", "aux4", "aux5_4"):
        config.optimizer.module_rates[head] = 1.0

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "estimate"  # or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.crop = ConfigDict(dict(size=512, rescale=(384, 1024), around="anywhere"))
    config.test_time = ConfigDict(dict(short_side=512))  # 0: photos keep their size

    config.log_every = 100
    config.evaluate_every = 5000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "cityscapes":
        config.model.num_classes, config.task.labels = 19, "given"
        config.optimizer.learning_rate = 0.005
        for head in ("head", "aux2", "aux3", "aux4", "aux5_4"):
            config.optimizer.module_rates[head] = 10.0
        config.data.train.dataset = config.data.test.dataset = "cityscapes"
        config.data.test.split = "validation"
        config.data.crop = ConfigDict(dict(size=512, width=1024, scales=(0.25, 2.0)))
        config.data.crop.around = "anywhere"
        config.test_time.short_side = 0
    if variant == "sample":
        config.steps, config.batch_size = 800, 8
        # The drawn weights of three classes are large: what dropout makes of them hides the rest.
        config.model.dropout = 0.0
        config.synthesis.trimap_kernel = (3, 9)
        config.optimizer.name, config.optimizer.learning_rate = "adam", 0.004
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.rescale = 128, (112, 160)
        config.test_time.short_side = 128
        config.log_every, config.evaluate_every, config.save_every = 50, 200, 200
    return config
