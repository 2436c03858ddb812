"""MODNet, https://arxiv.org/abs/2011.11961.

python launch.py --config configs/modnet.py            the embedded sample: 10 min on two cores,
                                                       MAD 0.40 -> about 0.15 (best constant:
                                                       0.29)
python launch.py --config configs/modnet.py:imagenet   the same from a backbone trained on ImageNet,
                                                       which is fetched: 2600 steps instead of
                                                       3600, MAD 0.094
python launch.py --config configs/modnet.py:paper \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the paper's recipe on your own portraits
python launch.py --config configs/modnet.py:official   the same with the released trainer's weights
python launch.py --config configs/modnet.py:paddle     PaddleSeg's recipe and network

The paper's foregrounds (about 3000 portraits) are private. The authors compose each of them over
about 30 photos. They start from mobilenetv2_human_seg.ckpt, a backbone trained to segment people
(--config.init.backbone=FILE). 40 epochs take days on one GPU.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults, follow

VARIANTS = ("sample", "imagenet", "paper", "official", "paddle")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "modnet"
    config.steps = 250_000  # 40 epochs of 100,000 composites
    config.model.context = "se"  # or "easpp", "aspp", "none"
    config.model.flavour = "official"  # or "paddle"

    # Section 3.5 of the paper; the released trainer has 10, 10, 1. A weight of 0 omits its loss.
    config.task.name = "modnet"
    # "official": colours on black, as in the released trainer; "paper": colours of the composite
    # with the true foreground and background, and half of the semantic loss
    config.task.form = "official"
    config.task.semantic_weight = 1.0
    config.task.detail_weight = 10.0
    config.task.matte_weight = 1.0
    config.task.boundary_weight = 4.0  # additional weight of the matte loss inside the boundary
    config.task.compositional_weight = 1.0  # the compositional part of the matte loss
    config.synthesis.flip = 0.5  # probability
    config.synthesis.trimap_kernel = (10, 20)  # px per 256 px of side
    # The paper mentions colour jitter and flips but no ranges; these are mild.
    config.synthesis.jitter = dict(brightness=0.1, contrast=0.15, saturation=0.2, hue=0.02)
    # RSSN of GFM: probabilities of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = dict(sharpness=0.0, noise=0.0, denoise=0.0)
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer.update(name="sgd", learning_rate=0.01, momentum=0.9)
    config.optimizer.schedule.update(name="step", step_every=62_500)  # 10 epochs
    config.optimizer.module_rates = dict(backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0)

    config.data.crop.update(size=512, rescale=(384, 768))
    # short side of test photos, px: that of the crops unless it is set
    config.test_time.reference_size = follow(config.data.crop, "size")

    if variant == "paper":
        config.task.form = "paper"
        config.task.boundary_weight = 0.0
    if variant == "official":
        config.task.semantic_weight = 10.0
        config.synchronise_statistics = False  # plain DataParallel
    if variant == "paddle":
        config.steps = 100_000
        config.model.flavour = "paddle"
        config.task.name = "modnet_paddle"
        del config.task.form
        config.task.consistency_weight = 1.0  # of semantics with alpha, outside the boundary
        rssn = config.synthesis.rssn
        config.synthesis = ConfigDict(dict(flip=0.5, blur=0.1, rssn=rssn))  # probabilities
        config.synthesis.trimap_kernel = (2, 4)  # px
        config.synthesis.trimap_iterations = (5, 14)
        config.synthesis.distort = dict(
            chance=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=18 / 255
        )
        config.optimizer.update(learning_rate=0.02, weight_decay=4e-5)
        config.optimizer.schedule.step_every = 40_000
        config.data.foreground_colours = "as_is"
        config.data.crop.rescale = (1024, 2048)  # PaddleSeg does not resize photos
    if variant in ("sample", "imagenet"):
        config.steps, config.batch_size = 3600, 2
        # In so few steps alpha is better if the details of the outlines do not outweigh it.
        config.task.update(form="paper", boundary_weight=0.0)
        config.task.update(semantic_weight=5.0, detail_weight=5.0, matte_weight=5.0)
        config.synthesis.trimap_kernel = (8, 16)
        config.optimizer.update(name="adam", learning_rate=0.003)
        config.optimizer.schedule.update(name="poly", warmup_steps=50)
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.update(size=96, rescale=(92, 112))
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 100, 600, 600
    if variant == "imagenet":
        config.steps, config.evaluate_every, config.save_every = 2600, 650, 650
        config.init.backbone = "modnet:imagenet"
        # At the rate of random weights the backbone soon forgets what it knows.
        config.optimizer.module_rates.update(backbone=0.1, lr_branch=0.3)
    return config
