"""SOC, adapting a trained network to unlabelled photos, https://arxiv.org/abs/2011.11961.

python launch.py --config configs/soc.py:modnet \\
    --config.init.checkpoint=modnet_photographic_portrait_matting.ckpt \\
    --config.data.train.photos=DIR
python launch.py --config configs/soc.py:pp_matting \\
    --config.init.checkpoint=RUN --config.data.train.photos=DIR
python launch.py --config configs/soc.py:gfm \\
    --config.init.checkpoint=RUN --config.data.train.photos=DIR

Each variant sets the outputs of its network with the semantics and the detail. RUN is a workdir or
an official file. Keywords of the network, such as --config.model.backbone=hrnet_w18, must be those
of its training. The recipe is that of MODNet's released trainer. The paper's recipe is
--config.task.form=paper --config.task.semantic_weight=1 --config.optimizer.learning_rate=1e-4.
configs/modnet_soc.py has both for MODNet, and one for networks trained on the embedded sample.

The loss first rises, while the outputs start to learn from each other, and then falls slowly. Alpha
may or may not improve on photos unlike those of the adaptation. --config.data.test.images=DIR
measures it.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults, follow

VARIANTS = ("modnet", "pp_matting", "gfm")


def get_config(variant: str = "modnet") -> ConfigDict:
    config = defaults()
    config.name = variant
    config.steps = 500_000  # 10 epochs of 50,000 frames
    config.batch_size = 1
    config.freeze_statistics = True  # scales and biases still train

    config.task.name = "soc"
    config.task.form = "official"  # or "paper"
    config.task.refresh = "epoch"  # copy the network at the start of each epoch, or "never"
    config.task.semantic_weight = 100.0
    config.task.detail_weight = config.task.matte_weight = 1.0
    config.optimizer.update(name="adam", learning_rate=1e-5, b1=0.9, b2=0.99)
    config.data.crop.update(size=512, rescale=(512, 768))

    # Keywords of the network as in its checkpoint; the outputs of semantics and detail; how much of
    # each channel of the semantics is subject; the options of its test-time rule.
    if variant == "modnet":
        config.model = dict(context="se", flavour="official")
        config.task.update(dict(semantic="semantic", detail="detail", classes=(1.0,)))
        config.optimizer.module_rates = dict(
            backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0
        )
        # short side of test photos, px: that of the crops unless it is set
        config.test_time.reference_size = follow(config.data.crop, "size")
    if variant == "pp_matting":
        config.model = dict(backbone="hrnet_w48", guidance=True, pyramid_pooling=True)
        config.model.rematerialise = False  # True: less memory, more time per step
        # Foreground, transition, background.
        config.task.update(dict(semantic="semantic", detail="detail", classes=(1.0, 0.5, 0.0)))
        config.optimizer.module_rates = dict(backbone=1.0, scb=1.0, hrdb=1.0)
        config.test_time.max_short = 0  # larger short sides are reduced to it; 0: as published
    if variant == "gfm":
        config.model = dict(backbone="resnet34", rosta="tt")
        config.model.pyramid_pooling = config.model.bridge_block = True
        config.model.pyramid = "concatenate"  # or "sum"
        # Background, transition, foreground.
        config.task.update(dict(semantic="glance", detail="focus", classes=(0.0, 0.5, 1.0)))
        config.optimizer.module_rates = dict(backbone=1.0, glance=1.0, focus=1.0)
        config.test_time.strategy = "hybrid"  # or "resize"
        config.test_time.scales = (1 / 3, 1 / 2)  # of the photo, for glance and focus
        config.test_time.exact = False  # True: hybrid with the rounding of the released code
    return config
