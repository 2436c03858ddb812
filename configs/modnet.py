"""MODNet, https://arxiv.org/abs/2011.11961.

python launch.py --config configs/modnet.py            embedded sample, two cores
python launch.py --config configs/modnet.py:paper      the paper's loss weights, data of your own
python launch.py --config configs/modnet.py:official   the released trainer's loss weights
"""
from ml_collections import ConfigDict


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "modnet"
    config.seed = 0
    config.steps = 600
    config.batch_size = 8
    config.model = ConfigDict(dict(context="se"))
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average as well
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # official files
    config.task = ConfigDict(
        dict(name="modnet", semantic_weight=10.0, detail_weight=10.0, matte_weight=1.0)
    )
    config.synthesis = ConfigDict(dict(flip=0.5, trimap_kernel=(10, 20)))  # sides per 256 pixels
    config.synthesis.jitter = ConfigDict(
        dict(brightness=0.15, contrast=0.2, saturation=0.3, hue=0.03)
    )
    config.optimizer = ConfigDict(
        dict(name="sgd", learning_rate=0.01, momentum=0.9, b1=0.9, b2=0.999, eps=1e-8)
    )
    config.optimizer.schedule = ConfigDict(
        dict(name="poly", power=0.9, step_every=0, step_factor=0.1, warmup_steps=20)
    )
    config.optimizer.module_rates = ConfigDict(
        dict(backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0)
    )
    config.data = ConfigDict(dict(directory="", cache="", foreground_colours="estimate"))
    config.data.skip_bad = False
    config.data.workers = 2
    config.data.train = ConfigDict(
        dict(dataset="sample", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.test = ConfigDict(dict(dataset="sample", split="test", images=""))
    config.data.crop = ConfigDict(dict(size=192, rescale=(160, 256), around="anywhere"))
    config.test_time = ConfigDict(dict(reference_size=192))
    config.log_every = 20
    config.evaluate_every = 200
    config.save_every = 200
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which halves a step's time
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none
    return config
