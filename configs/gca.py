"""GCA, natural image matting by guided contextual attention, https://arxiv.org/abs/2001.04069.

python launch.py --config configs/gca.py               the embedded sample: 27 min of CPU time, MAD
                                                       0.53 -> 0.20 in the unknown region
python launch.py --config configs/gca.py:official \\
    --config.init.backbone=model_best_resnet34_En_nomixup.pth \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the recipe of the released code

The paper trains on Adobe's 431 foregrounds over COCO and scores Composition-1k. These flags replace
the folders:
--config.data.train.dataset=composition_1k/foregrounds
--config.data.train.background_dataset=coco/2017
--config.data.test.dataset=composition_1k/composites

The authors report that 200,000 steps took more than two days on four RTX 2080 Ti, and that half as
many are nearly as good.
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults

VARIANTS = ("sample", "official", "paper")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "gca"
    config.steps = 200_000
    config.batch_size = 40
    config.model = dict(attention=True, guidance=True)  # False: the paper's ablations
    config.model.normalise = "keys"  # as released; "both": the paper's cosine of query and key

    # The paper has only the first loss, the released code also the others. 0 omits a loss.
    config.task.name = "gca"
    config.task.rec_weight = 1.0
    config.task.comp_weight = config.task.smooth_l1_weight = 0.0
    config.task.grad_weight = config.task.gabor_weight = 0.0
    config.synthesis.trimap_kernel = (1, 29)  # px
    # hue in degrees; saturation and value of dull and dark foregrounds change the most
    config.synthesis.jitter = dict(hue=40, saturation=0.1, value=0.1)
    # RSSN of GFM: probabilities of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = dict(sharpness=0.0, noise=0.0, denoise=0.0)
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer.update(name="adam", learning_rate=4e-4, b1=0.5, clip_moving=2.0)
    config.optimizer.schedule.update(name="cosine", warmup_steps=5000, first_step=1)
    config.optimizer.module_rates = dict(encoder=1.0, decoder=1.0)

    config.data.train.combine = 0.5
    config.data.test.trimap_distance = 12  # where the data has no trimaps
    config.data.crop.update(size=512, around="unknown")
    config.data.crop.affine = dict(
        rotation=30.0, scale=(0.8, 1.25), shear=10.0, flip=0.5, square=0.25, square_size=640
    )
    config.evaluate_every = 2000

    if variant == "paper":
        config.model.normalise = "both"
    if variant == "sample":
        config.steps, config.batch_size = 1000, 4
        config.optimizer.learning_rate = 1e-3
        config.optimizer.schedule.warmup_steps = 50
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.size, config.data.crop.affine.square_size = 96, 128
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 250, 250
    return config
