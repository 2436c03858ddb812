"""Task of BiSeNet V2: the class of each pixel, given or background, unknown and foreground.

Source: CoinCheung/BiSeNet, tools/train_amp.py, lib/data/transform_cv2.py, lib/ohem_ce_loss.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.choices import one_of
from matting_jax.image import trimap
from matting_jax.image.colour import colour_classes, jitter_bytes
from matting_jax.image.composite import composite
from matting_jax.image.geometry import resize_bilinear
from matting_jax.losses import ohem_cross_entropy
from matting_jax.metrics.segmentation import PROTOCOLS, class_iou, confusion, half_size, mean_iou
from matting_jax.models.bisenet_v2 import STATISTICS, network_size
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Evaluation, Predicted, Task

Array = jax.Array
Arrays = dict[str, Array]

LABELS = ("given", "trimap")
# Sizes at which test photos are predicted.
SIZES = ("full", "half")
TRIMAP_CLASSES = ("background", "unknown", "foreground")


def check(config: Any) -> None:
    """Raises ValueError for invalid labels, evaluation or classes."""
    one_of(config.task.labels, LABELS, "task.labels")
    check_protocol(config)
    if config.task.labels == "trimap" and config.model.num_classes != len(TRIMAP_CLASSES):
        raise ValueError(
            f"a trimap has 3 classes, but model.num_classes is {config.model.num_classes}: "
            "set --config.model.num_classes=3"
        )


def check_protocol(config: Any) -> None:
    """Raises ValueError for an invalid evaluation protocol."""
    one_of(config.task.evaluation, PROTOCOLS, "task.evaluation")
    if one_of(way_of(config), SIZES, "test.way") == "half" and config.task.evaluation != "ss":
        raise ValueError(
            "test.way=half predicts the whole photo at one scale, but task.evaluation is "
            f"{config.task.evaluation}: set --config.task.evaluation=ss or --config.test.way=full"
        )


def way_of(config: Any) -> str:
    """Returns `config.test.way`; older runs have no such field and were evaluated at full size."""
    return config.test.way if "test" in config else "full"


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth: augmented photos and the class of each pixel.

    `keys`: one random key per sample. `batch`: uint8 `image` [B, H, W, 3] and `label` [B, H, W, 1],
    255 for unlabelled pixels; for `config.task.labels` "trimap" `image` and `alpha` [B, H, W, 1],
    or `foreground`, `alpha` and `background`. `config.synthesis` holds the probabilities and ranges
    of the augmentation. Returns inputs {image, keys}, keys for the network's dropout, and truth
    {label}, int32 [B, H, W].
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Array, Array]:
        keys = jax.random.split(key, 3)
        if "image" in arrays:
            image = arrays["image"]
        else:
            image = composite(arrays["foreground"], arrays["alpha"], arrays["background"])
        if config.task.labels == "trimap":
            sizes = jax.random.randint(keys[0], (2,), smallest, largest + 1)
            label = trimap_label(trimap.gca(arrays["alpha"], *sizes, largest))
        else:
            label = arrays["label"][..., 0].astype(jnp.int32)
        image, label = random_flip(keys[1], options.flip, (image, label))
        return jitter_bytes(keys[2], image, options.jitter), label

    keys = jax.vmap(lambda key: jax.random.split(key, 2))(keys)
    image, label = each_sample(sample, keys[:, 0], batch)
    return {"image": image, "keys": keys[:, 1]}, {"label": label}


def trimap_label(trimap: Array) -> Array:
    """Returns classes 0, 1 and 2, int32 [H, W], for the values 0, 0.5 and 1 of [H, W, 1]."""
    return (2 * trimap[..., 0]).astype(jnp.int32)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the sum of the cross-entropies of all heads, each over its own hard pixels.

    Args:
        outputs: logits [B, H, W, C] of each head by name.
        inputs: not used.
        truth: `label` [B, H, W].
        config: `config.task` holds the thresholds of hard pixels.
        axis_name: mapped axis; the pixels of all its devices are taken together.

    Returns:
        The total, and one term for each head by its name.
    """
    options = config.task
    terms = {
        name: ohem_cross_entropy(
            logits,
            truth["label"],
            options.hard_probability,
            options.hard_least,
            axis_name=axis_name,
        )
        for name, logits in outputs.items()
    }
    return sum(terms.values()), terms


def count(predicted: Predicted, config: Any) -> np.ndarray:
    """Returns the confusion matrix of a photo, whose pixels count alike in the mean IoU of all."""
    return confusion(predicted.prediction, predicted.truth, config.model.num_classes)


def draw(predicted: Predicted, config: Any) -> dict[str, np.ndarray]:
    """Returns the pictures photo, prediction and truth, float32 [H, W, 3]."""
    classes = config.model.num_classes
    return {
        "photo": predicted.photo,
        "prediction": colour_classes(predicted.prediction, classes),
        "truth": colour_classes(predicted.truth, classes),
    }


def score(matrix: np.ndarray, config: Any) -> dict[str, float]:
    """Returns `miou` and the IoU of each class, from the confusion matrix of all test images."""
    is_trimap = config.task.labels == "trimap"
    names = TRIMAP_CLASSES if is_trimap else range(config.model.num_classes)
    each = zip(names, class_iou(matrix).tolist(), strict=True)
    return {"miou": mean_iou(matrix), **{f"iou_{name}": iou for name, iou in each}}


def classify(matter: Any, photo: np.ndarray, config: Any) -> np.ndarray:
    """Returns the class of each pixel [H, W] of a photo [H, W, 3] by the protocol of `config`."""
    check_protocol(config)

    def run(image: np.ndarray) -> np.ndarray:
        return matter.apply("logits", image=image[None])[0]

    if way_of(config) == "half":
        return half_size(run, photo).argmax(-1)
    margin, _ = STATISTICS[matter.model.statistics]
    predict = PROTOCOLS[config.task.evaluation]
    return predict(run, photo, config.task.window, margin).argmax(-1)


def photo_and_label(image: Any, config: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns a test photo, float32 [h, w, 3], and the class of each of its pixels, [h, w].

    `image` holds `image` uint8 [H, W, 3] and `label` uint8 [H, W]. For trimaps it holds `alpha`
    uint8 [H, W] instead of a label; photo and alpha are then resized to the network's size, and the
    trimap is made with a kernel of the mean size in training.
    """
    photo = image.image.astype(np.float32) / 255
    if config.task.labels != "trimap":
        return photo, image.label
    size = network_size(*photo.shape[:2], config.test_time.short_side)
    alpha = resize_bilinear(image.alpha[..., None].astype(np.float32) / 255, *size)
    kernel = sum(config.synthesis.trimap_kernel) // 2
    label = trimap_label(trimap.gca(alpha, kernel, kernel, kernel))
    return resize_bilinear(photo, *size), np.asarray(label)


# By the published protocol that `config.test.way` and `config.task.evaluation` name.
evaluate = Evaluation(photo_and_label, classify, count, draw, score)

TASK = Task(
    synthesize=synthesize,
    loss=loss,
    check=check,
    evaluate=evaluate,
    classify=classify,
    score=lambda scores: 1 - scores["miou"],
    score_name="1 - mean IoU",
    result=lambda config: "trimap" if config.task.labels == "trimap" else "classes",
    labelled=lambda config: config.task.labels == "given",
    added={"test.way": "full"},
    ranges={"task.hard_least": "[1, inf)", "task.hard_probability": "(0, 1]"},
)
