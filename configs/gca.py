"""GCA, natural image matting by guided contextual attention, https://arxiv.org/abs/2001.04069.

python launch.py --config configs/gca.py               the embedded sample: 27 min of CPU time,
                                                       MAD where unknown 0.53 -> 0.20
python launch.py --config configs/gca.py:official \\
    --config.init.backbone=model_best_resnet34_En_nomixup.pth \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the recipe of paper and released code

The paper trains on Adobe's 431 foregrounds over COCO and scores Composition-1k:
--config.data.train.dataset=composition_1k/foregrounds
--config.data.train.background_dataset=coco/2017
--config.data.test.dataset=composition_1k/composites in place of the folders.
200,000 steps took the authors more than two days on four RTX 2080 Ti; half of them is nearly as
good, they say.
"""

from ml_collections import ConfigDict

VARIANTS = ("sample", "official")


def get_config(variant: str = "sample") -> ConfigDict:
    config = ConfigDict()
    config.name = "gca"
    config.seed = 0
    config.steps = 200_000
    config.batch_size = 40
    config.accumulate = 1  # parts of a step's batch, one after the other: memory falls
    config.model = ConfigDict(dict(attention=True, guidance=True))  # False: the paper's ablations
    config.compute_dtype = "float32"  # or "bfloat16", on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # for fine-tuning: keep the running statistics
    config.ema_decay = 0.0  # above 0: evaluate and save the moving average of the parameters too
    config.init = ConfigDict(dict(checkpoint="", backbone=""))  # files or workdirs to start from
    config.init.model = ConfigDict()  # in what the checkpoint's network differs from `model`

    # The paper's loss is the first; the released code has the others too. 0 leaves out.
    config.task = ConfigDict(dict(name="gca", rec_weight=1.0, comp_weight=0.0))
    config.task.smooth_l1_weight = config.task.grad_weight = config.task.gabor_weight = 0.0
    config.synthesis = ConfigDict(dict(trimap_kernel=(1, 29)))  # px
    # hue: degrees; saturation, value: the less the foreground has, the further they move
    config.synthesis.jitter = ConfigDict(dict(hue=40, saturation=0.1, value=0.1))
    # RSSN, GFM's composition route: chances of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = ConfigDict(dict(sharpness=0.0, noise=0.0, denoise=0.0))
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer = ConfigDict(dict(name="adam", learning_rate=4e-4))
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.5, 0.999, 1e-8  # adam, adamw
    config.optimizer.weight_decay = 0.0  # adamw: apart from the gradient; else added to it
    config.optimizer.decay = "all"  # or "kernels": neither biases nor scales of normalisations
    config.optimizer.clip_norm = 0.0  # above 0: the largest norm of all gradients together
    config.optimizer.clip_moving = 2.0  # above 0: the largest norm by its moving mean
    config.optimizer.schedule = ConfigDict(dict(name="cosine", warmup_steps=5000))
    config.optimizer.schedule.first_step = 1  # 1: the warm-up's first step does not rest
    config.optimizer.schedule.step_every = 0  # step
    config.optimizer.schedule.step_factor = 0.1  # step
    config.optimizer.schedule.power = 0.9  # poly
    config.optimizer.module_rates = ConfigDict(dict(encoder=1.0, decoder=1.0))

    config.data = ConfigDict(dict(directory="", cache="", workers=8, skip_bad=False))
    config.data.foreground_colours = "estimate"  # or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory, where they fit
    config.data.train = ConfigDict(
        dict(dataset="", split="train", foregrounds="", backgrounds="", images="")
    )
    config.data.train.background_dataset = ""  # of TFDS, in place of a folder
    config.data.train.background_split = "train"
    config.data.train.combine = 0.5  # chance of a second foreground behind the first
    config.data.test = ConfigDict(dict(dataset="", split="test", images=""))
    config.data.test.trimap_distance = 12  # px around soft alpha, where the data has no trimaps
    config.data.crop = ConfigDict(dict(size=512, around="unknown"))
    config.data.crop.affine = ConfigDict(
        dict(rotation=30.0, scale=(0.8, 1.25), shear=10.0, flip=0.5, square=0.25, square_size=640)
    )
    config.test_time = ConfigDict()

    config.log_every = 100
    config.evaluate_every = 2000
    config.save_every = 1000
    config.preview_images = 6
    config.allocator = True  # on CPU: keep freed memory, which makes a step up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # "" for none

    if variant == "sample":
        config.steps, config.batch_size = 1000, 4
        config.optimizer.learning_rate = 1e-3
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.affine.square_size = 96, 128
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
