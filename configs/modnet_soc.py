"""SOC, adapting a trained MODNet to unlabelled photos, https://arxiv.org/abs/2011.11961.

configs/soc.py is the general recipe, with a variant for each network that can be adapted.

python launch.py --config configs/modnet_soc.py \\
    --config.init.checkpoint=runs/modnet --config.data.train.photos=DIR
                                       a network trained on the embedded sample: 4 min on two cores
python launch.py --config configs/modnet_soc.py:official \\
    --config.init.checkpoint=modnet_photographic_portrait_matting.ckpt \\
    --config.data.train.photos=DIR     the released trainer's recipe on an official checkpoint
python launch.py --config configs/modnet_soc.py:paper ...
                                       the paper's two losses and its learning rate

The loss first rises, while the outputs start to learn from each other, and then falls slowly. Alpha
may or may not improve on photos unlike those of the adaptation. --config.data.test.images=DIR
measures it. The authors adapt to all frames of about 400 videos, for 10 epochs, one frame a step.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults, follow

VARIANTS = ("sample", "official", "paper")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "modnet"
    config.steps = 500_000  # 10 epochs of 50,000 frames
    config.batch_size = 1
    config.model = dict(context="se", flavour="official")  # as in the checkpoint
    config.freeze_statistics = True  # scales and biases still train

    config.task.name = "soc"
    config.task.form = "official"  # or "paper"
    config.task.refresh = "epoch"  # copy the network at the start of each epoch, or "never"
    config.task.semantic = "semantic"  # the network's output of semantics
    config.task.detail = "detail"  # the network's output of detail
    config.task.classes = (1.0,)  # how much of each channel of the semantics is subject
    config.task.semantic_weight = 100.0
    config.task.detail_weight = config.task.matte_weight = 1.0

    config.optimizer.update(name="adam", learning_rate=1e-5, b1=0.9, b2=0.99)
    config.optimizer.module_rates = dict(backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0)

    config.data.crop.update(size=512, rescale=(512, 768))
    # short side of test photos, px: that of the crops unless it is set
    config.test_time.reference_size = follow(config.data.crop, "size")

    if variant == "paper":
        config.task.form = "paper"
        config.task.semantic_weight = 1.0
        config.optimizer.learning_rate = 1e-4
    if variant == "sample":
        config.steps, config.batch_size = 400, 4
        config.task.semantic_weight = 5.0  # at 100 alpha follows what the sample teaches poorly
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.crop.update(size=96, rescale=(96, 144))
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 20, 100, 100
    return config
