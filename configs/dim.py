"""Deep Image Matting, https://arxiv.org/abs/1703.03872.

python launch.py --config configs/dim.py               the embedded sample: 20 min of CPU time, MAD
                                                       0.41 -> 0.36 in the unknown region; slow,
                                                       because VGG-16 starts from random weights
python launch.py --config configs/dim.py:encoder_decoder --config.init.backbone=dim:imagenet \\
    --config.data.train.foregrounds=DIR --config.data.train.backgrounds=DIR \\
    --config.data.test.images=DIR                      the first stage of the paper
python launch.py --config configs/dim.py:refinement \\
    --config.init.checkpoint=runs/dim_encoder_decoder ...    the second stage: only the refiner
python launch.py --config configs/dim.py:finetune \\
    --config.init.checkpoint=runs/dim_refinement ...   the third stage: both

A stage starts from the workdir of the previous one, or from its official checkpoint. dim:imagenet
is torchvision's VGG-16, which is fetched; mmagic's vgg_state_dict.pth is another. The numbers are
those of mmagic's checkpoints: a million steps of one crop each. mmagic's scores vary from one
evaluation to the next, and it reports the best.

Adobe's 431 foregrounds over COCO, with Composition-1k as the test set, replace the folders by
--config.data.train.dataset=composition_1k/foregrounds
--config.data.train.background_dataset=coco/2017
--config.data.test.dataset=composition_1k/composites
"""

from ml_collections import ConfigDict

from matting_jax.config import defaults

VARIANTS = ("sample", "encoder_decoder", "refinement", "finetune")


def get_config(variant: str = "sample") -> ConfigDict:
    config = defaults()
    config.name = "dim"
    config.steps = 1_000_000
    config.batch_size = 1
    config.model.refine = True  # False: only the first stage
    # the refiner corrects the "logits" of alpha, as in mmagic, or "alpha", as in the paper
    config.model.correction = "logits"

    # A weight of 0 omits its loss.
    config.task.name = "dim"
    config.task.alpha_weight = config.task.composition_weight = 0.5
    config.task.refinement_weight = 1.0
    config.synthesis.flip = 0.5  # probability
    # "mmagic": all edges are unknown; "dim": soft alpha, dilated, as the paper says
    config.synthesis.trimap = "mmagic"
    config.synthesis.trimap_kernel = (1, 29)  # px
    # RSSN of GFM: probabilities of a blurred background, of noise, of denoised copies.
    config.synthesis.rssn = dict(sharpness=0.0, noise=0.0, denoise=0.0)
    config.synthesis.rssn.blur_sizes = (20, 30, 40, 50, 60)  # px
    config.synthesis.rssn.noise_deviation = 10.0  # of 255

    config.optimizer.update(name="adam", learning_rate=1e-5)
    config.optimizer.module_rates.backbone = 1.0  # encoder and decoder

    config.data.test.trimap_distance = 12  # where the data has no trimaps
    config.data.crop.update(size=320, windows=(320, 480, 640), around="unknown")
    config.evaluate_every = 40_000

    if variant == "encoder_decoder":
        config.model.refine = False
    if variant == "refinement":
        config.init.model.refine = False
        config.task.alpha_weight = config.task.composition_weight = 0.0
        config.optimizer.module_rates.backbone = 0.0
    if variant == "sample":
        config.steps, config.batch_size = 600, 4
        config.synthesis.trimap_kernel = (1, 9)
        config.optimizer.learning_rate = 1e-4
        config.data.workers, config.data.keep_decoded = 2, True
        config.data.train.dataset = config.data.test.dataset = "sample"
        config.data.crop.update(size=64, windows=(64, 96, 128))
        config.evaluate_first = "all"
        config.log_every, config.evaluate_every, config.save_every = 50, 200, 200
    return config
