"""MODNet, https://arxiv.org/abs/2011.11961.

python launch.py --config configs/modnet.py            the embedded sample: two cores, 9 min,
                                                       MAD 0.40 -> 0.15 (best constant: 0.29)
python launch.py --config configs/modnet.py:paper \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the paper's recipe on portraits of your own
python launch.py --config configs/modnet.py:official   the same with the released trainer's weights
python launch.py --config configs/modnet.py:paddle     the same by PaddleSeg's recipe and network

The paper's foregrounds (about 3000 portraits) are private; it composes each over some 30 photos and
starts from mobilenetv2_human_seg.ckpt, a backbone that knows people (--config.init.backbone=FILE).
40 epochs take days on one GPU.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "paper", "official", "paddle")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "modnet"
    config.seed = 0
    config.steps = 250_000  # 40 epochs of 100,000 composites
    config.batch_size = 16
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    # context: or "easpp", "none"; flavour: or "paddle"
    config.model = ConfigDict(dict(context="se", flavour="official"))
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files to start from

    # The weights of section 3.5 of the paper; the released trainer has 10, 10, 1. 0 leaves out.
    config.task = ConfigDict(
        dict(name="modnet", semantic_weight=1.0, detail_weight=10.0, matte_weight=1.0)
    )
    config.task.boundary_weight = 4.0  # the matte loss inside the boundary, once more
    config.task.compositional_weight = 1.0  # the compositional part of the matte loss
    config.synthesis = ConfigDict(dict(flip=0.5, trimap_kernel=(10, 20)))  # px per 256 px of side
    # The paper names colour jitter and flips but no ranges; these are mild.
    config.synthesis.jitter = ConfigDict(
        dict(brightness=0.1, contrast=0.15, saturation=0.2, hue=0.02)
    )

    # RSSN, GFM's composition route: chances of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = ConfigDict(dict(sharpness=0.0, noise=0.0, denoise=0.0))
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer = ConfigDict(dict(name="sgd", learning_rate=0.01))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.999, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 0.0  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "all"  # or "kernels": neither biases nor scales of normalisations
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 0.0  # above 0: the largest norm by its moving mean, as GCA's
    config.optimizer.schedule = ConfigDict(dict(name="step", warmup_steps=0))
    config.optimizer.schedule.first_step = 0  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.step_every = 62_500  # step: 10 epochs
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    config.optimizer.module_rates = ConfigDict(
        dict(backbone=1.0, lr_branch=1.0, hr_branch=1.0, f_branch=1.0)
    )

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "estimate"  # or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.train.background_dataset = ""  # of TFDS, in place of a folder
    config.data.train.background_split = "train"
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.crop = ConfigDict(dict(size=512, rescale=(384, 768), around="anywhere"))
    config.test_time = ConfigDict(dict(reference_size=512))

    config.log_every = 100
    config.evaluate_every = 5000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "official":
        config.task.semantic_weight = 10.0
        config.synchronise_statistics = False  # plain DataParallel
    if variant == "paddle":
        config.steps = 100_000
        config.model.flavour = "paddle"
        config.task.name = "modnet_paddle"
        config.task.consistency_weight = 1.0  # of semantics with alpha, outside the boundary
        rssn = config.synthesis.rssn
        config.synthesis = ConfigDict(dict(flip=0.5, blur=0.1, rssn=rssn))
        config.synthesis.trimap_kernel, config.synthesis.trimap_iterations = (2, 4), (5, 14)
        config.synthesis.distort = ConfigDict(
            dict(chance=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=18 / 255)
        )
        config.optimizer.learning_rate, config.optimizer.weight_decay = 0.02, 4e-5
        config.optimizer.schedule.step_every = 40_000
        config.data.foreground_colours = "as_is"
        config.data.crop.rescale = (1024, 2048)  # PaddleSeg leaves photos at the size they have
    if variant == "sample":
        config.steps, config.batch_size = 2250, 4
        config.task.semantic_weight = 10.0
        config.synthesis.trimap_kernel = (8, 16)
        config.optimizer.name, config.optimizer.learning_rate = "adam", 0.004
        config.optimizer.schedule.name = "poly"
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.rescale = 96, (92, 112)
        config.test_time.reference_size = 96
        config.log_every, config.evaluate_every, config.save_every = 50, 400, 400
    return config
