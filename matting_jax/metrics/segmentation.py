"""Mean IoU of classes, and the published ways of looking at an image for it.

Each way, in `WAYS`, sums what the network says of an image at some scales, whole or window by
window, as it is and mirrored. `classify` is the network: image float32 [h, w, 3] in [0, 1], sides
multiples of 32 -> logits [h, w, C]. Source: CoinCheung/BiSeNet, tools/evaluate.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import softmax

from matting_jax.image.geometry import resize_aligned

Classify = Callable[[np.ndarray], np.ndarray]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def confusion(
    prediction: np.ndarray, label: np.ndarray, classes: int, ignored: int = 255
) -> np.ndarray:
    """How many pixels of each class (rows) were taken for each (columns), int64 [C, C].

    prediction, label: integers of one shape; pixels whose label is `ignored` do not count. Sums of
    several images are those of all their pixels. ValueError for a label that is no class.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, label {label.shape}")
    kept = label != ignored
    label, prediction = label[kept].astype(np.int64), prediction[kept]
    if label.size and not 0 <= label.min() <= label.max() < classes:
        raise ValueError(
            f"labels hold {label.min()} to {label.max()}, but there are {classes} classes: "
            f"number them from 0, and set what is none of them to {ignored}"
        )
    counts = np.bincount(label * classes + prediction, minlength=classes**2)
    return counts.reshape(classes, classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class, [C], from a confusion matrix; one more pixel joins each union, so that a
    class that never occurs has 0."""
    hits = np.diag(confusion)
    return hits / (confusion.sum(0) + confusion.sum(1) - hits + 1)


def mean_iou(confusion: np.ndarray) -> float:
    """The mean of `class_iou` over all classes."""
    return float(class_iou(confusion).mean())


def single_scale(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Probabilities [H, W, C] of an image [H, W, 3], seen whole."""
    return whole(classify, image, 1.0, mirrored=False)


def single_scale_crop(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums of probabilities [H, W, C] of an image [H, W, 3], seen through square windows."""
    return windows(classify, image, 1.0, window, margin, mirrored=False)


def multi_scale_flip(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums of probabilities [H, W, C] of an image [H, W, 3], seen whole at six scales, mirrored as
    well."""
    return sum(whole(classify, image, scale, mirrored=True) for scale in SCALES)


def multi_scale_crop_flip(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums [H, W, C] of what an image [H, W, 3] is at six scales through square windows, mirrored
    as well."""
    return sum(windows(classify, image, scale, window, margin, mirrored=True) for scale in SCALES)


WAYS = {
    "ss": single_scale,
    "ssc": single_scale_crop,
    "msf": multi_scale_flip,
    "mscf": multi_scale_crop_flip,
}


def whole(classify: Classify, image: np.ndarray, scale: float, mirrored: bool) -> np.ndarray:
    """Probabilities [H, W, C] of an image brought to `scale`, sides rounded up to multiples of 32;
    those of its mirror image added."""
    height, width = image.shape[:2]
    sides = (math.ceil(int(scale * side) / 32) * 32 for side in (height, width))
    views = seen(classify, resize_aligned(image, *sides), mirrored)
    return sum(softmax(resize_aligned(view, height, width), axis=-1) for view in views)


def windows(
    classify: Classify,
    image: np.ndarray,
    scale: float,
    window: int,
    margin: tuple[float, ...],
    mirrored: bool,
) -> np.ndarray:
    """Sums [H, W, C] of what an image brought to `scale` is in each window, at a third's overlap.

    Where a side is not above `window`, the image lies in the middle of `margin`, a colour. With
    `mirrored` the exponential of both probabilities' sum counts, as in the source.
    """
    height, width = image.shape[:2]
    image = resize_aligned(image, int(scale * height), int(scale * width))
    sides = [(0, 0), (0, 0), (0, 0)]
    if min(image.shape[:2]) <= window:
        for axis in (0, 1):
            missing = max(window - image.shape[axis], 0)
            sides[axis] = (missing // 2, missing - missing // 2)
    padded = np.pad(image - np.float32(margin), sides) + np.float32(margin)
    total = None
    for top in starts(padded.shape[0], window):
        for left in starts(padded.shape[1], window):
            place = np.s_[top : top + window, left : left + window]
            views = seen(classify, padded[place], mirrored)
            score = sum(softmax(view, axis=-1) for view in views)
            if total is None:
                total = np.zeros((*padded.shape[:2], score.shape[-1]), np.float32)
            total[place] += np.exp(score) if mirrored else score
    (top, _), (left, _), _ = sides
    inside = total[top : top + image.shape[0], left : left + image.shape[1]]
    return resize_aligned(inside, height, width)


def starts(length: int, window: int) -> list[int]:
    """Where windows begin along a side: two thirds of a window apart, the last at the end."""
    step = math.ceil(2 / 3 * window)
    count = math.ceil((length - window) / step) + 1
    return [min(i * step, length - window) for i in range(count)]


def seen(classify: Classify, image: np.ndarray, mirrored: bool) -> Iterator[np.ndarray]:
    """The logits [h, w, C] of an image; then those of its mirror image, turned back."""
    yield classify(image)
    if mirrored:
        yield classify(image[:, ::-1])[:, ::-1]
