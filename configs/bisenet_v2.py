"""BiSeNet V2, https://arxiv.org/abs/2004.02147.

python launch.py --config configs/bisenet_v2.py        trimaps on the embedded sample, from random
                                                       weights: 14 min of CPU time,
                                                       mean IoU 0.05 -> 0.43
python launch.py --config configs/bisenet_v2.py:trimap \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      trimaps on your own photos
python launch.py --config configs/bisenet_v2.py:cityscapes \\
    --config.init.backbone=backbone_v2.pth             the published recipe for Cityscapes
python launch.py --config configs/bisenet_v2.py:large  the paper's BiSeNetV2-Large on Cityscapes

The released learning rate, 0.005, is for branches trained on ImageNet: CoinCheung's
backbone_v2.pth, or a complete checkpoint, whose heads are skipped. From random weights use that of
the paper, 0.05. The expected mean IoU on Cityscapes is 74.95 (ss), 75.58 (ssc), 76.53 (msf) and
77.08 (mscf). Runs vary from 73.1 to 75.1.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults, follow

VARIANTS = ("sample", "trimap", "cityscapes", "large")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "bisenet_v2"
    config.steps = 150_000
    config.model.num_classes = 3
    config.model.statistics = "cityscapes"  # or "coco", "ade20k", "imagenet": normalises the image
    config.model.aggregation = "bga"  # or "sum", "concat"
    config.model.heads = "official"  # or "paper"
    config.model.booster = True  # auxiliary heads in training
    # positions of the heads, of aux2, aux3, aux4 and aux5_4
    config.model.booster_positions = ("aux2", "aux3", "aux4", "aux5_4")
    config.model.channel_ratio = 0.25  # of the semantic to the detail branch, in its first stages
    config.model.expansion = 6  # of channels in the blocks of the semantic branch
    config.model.width = 1.0  # factor of all channels
    config.model.depth = 1  # factor of the blocks of the semantic branch
    config.model.dropout = 0.1

    config.task.name = "bisenet_v2"
    config.task.labels = "trimap"  # or "given"
    config.task.hard_probability = 0.7  # the loss counts pixels whose class has a lower one,
    config.task.hard_least = 16  # but at least one pixel in 16
    config.task.evaluation = "ss"  # or "ssc", "msf", "mscf": scales, crops and flips
    config.task.window = 1024  # ssc, mscf: px
    # "full", or the paper's "half": predicts at half the size, then enlarges the logits
    config.test = ConfigDict(dict(way="full"))
    config.synthesis.flip = 0.5  # probability
    config.synthesis.trimap_kernel = (10, 40)  # px, sampled separately for each side
    config.synthesis.jitter = dict(brightness=0.4, contrast=0.4, saturation=0.4)

    config.optimizer.update(name="sgd", learning_rate=0.05, momentum=0.9)
    config.optimizer.update(weight_decay=5e-4, decay="kernels")
    config.optimizer.schedule.update(name="poly", power=0.9, warmup_steps=1000, warmup_from=0.1)
    # The released code trains its heads ten times as fast; the paper does not.
    config.optimizer.module_rates = dict(detail=1.0, segment=1.0, bga=1.0)
    heads = ("head", "aux2", "aux3", "aux4", "aux5_4")
    for head in heads:
        config.optimizer.module_rates[head] = 1.0

    config.data.crop.update(size=512, rescale=(384, 1024))
    # short side of test photos, px: that of the crops unless it is set; 0: photos keep their size
    config.test_time.short_side = follow(config.data.crop, "size")

    if variant in ("cityscapes", "large"):
        config.model.num_classes, config.task.labels = 19, "given"
        config.data.train.dataset = config.data.test.dataset = "cityscapes"
        config.data.test.split = "validation"
        del config.data.crop.rescale
        config.data.crop.update(width=1024, scales=(0.25, 2.0))
        config.test_time.short_side = 0
    if variant == "cityscapes":
        config.optimizer.learning_rate = 0.005
        for head in heads:
            config.optimizer.module_rates[head] = 10.0
    if variant == "large":  # from random weights, as the paper trains
        config.model.update(width=2.0, depth=3, heads="paper")
        # The paper halves the photos: 0.75 to 2 times that size.
        config.data.crop.scales = (0.375, 1.0)
        config.test.way = "half"
    if variant == "sample":
        config.steps, config.batch_size = 800, 8
        config.model.dropout = (
            0.0  # the initial weights of three classes are large; its noise dominates
        )
        config.synthesis.trimap_kernel = (3, 9)
        config.optimizer.update(name="adam", learning_rate=0.004)
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.update(size=128, rescale=(112, 160))
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 200, 200
    return config
