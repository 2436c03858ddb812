"""Mean IoU of classes, and the published evaluation protocols for it.

Each of `PROTOCOLS` sums predictions of an image at one or more scales, for the whole image or by
windows, with and without a horizontal flip. `classify` is the network: image float32 [h, w, 3] in
[0, 1], sides multiples of 32 -> logits [h, w, C]. Source: CoinCheung/BiSeNet, tools/evaluate.py; of
`half_size` the paper, arXiv 2004.02147.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy

from matting_jax.image.geometry import resize_aligned, resize_bilinear

Classify = Callable[[np.ndarray], np.ndarray]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def confusion(
    prediction: np.ndarray, label: np.ndarray, classes: int, ignored: int = 255
) -> np.ndarray:
    """Counts the pixels of each class (rows) predicted as each class (columns), int64 [C, C].

    Matrices of several images may be added.

    Args:
        prediction: predicted classes, integers.
        label: true classes, integers of the same shape.
        classes: number of classes.
        ignored: label of the pixels to skip.

    Raises:
        ValueError: for arrays of different shapes and for an invalid label.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, label {label.shape}")
    kept = label != ignored
    label, prediction = label[kept].astype(np.int64), prediction[kept]
    if label.size and not 0 <= label.min() <= label.max() < classes:
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, or {ignored} for pixels to ignore, got "
            f"{label.min()} to {label.max()}"
        )
    counts = np.bincount(label * classes + prediction, minlength=classes**2)
    return counts.reshape(classes, classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Computes the IoU of each class, [C], from a confusion matrix.

    One pixel is added to each union, so that the IoU of an absent class is 0.
    """
    hits = np.diag(confusion)
    return hits / (confusion.sum(0) + confusion.sum(1) - hits + 1)


def mean_iou(confusion: np.ndarray) -> float:
    """Computes the mean of `class_iou` over all classes."""
    return float(class_iou(confusion).mean())


def single_scale(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Predicts probabilities [H, W, C] of a whole image [H, W, 3]."""
    return predict_whole(classify, image, 1.0, mirrored=False)


def single_scale_crop(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums probabilities [H, W, C] of an image [H, W, 3] over square windows."""
    return predict_windows(classify, image, 1.0, window, margin, mirrored=False)


def multi_scale_flip(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums probabilities [H, W, C] of a whole image [H, W, 3] over six scales and flips."""
    return sum(predict_whole(classify, image, scale, mirrored=True) for scale in SCALES)


def multi_scale_crop_flip(
    classify: Classify, image: np.ndarray, window: int, margin: tuple[float, ...]
) -> np.ndarray:
    """Sums scores [H, W, C] of an image [H, W, 3] over six scales, square windows and flips."""
    return sum(
        predict_windows(classify, image, scale, window, margin, mirrored=True) for scale in SCALES
    )


PROTOCOLS = {
    "ss": single_scale,
    "ssc": single_scale_crop,
    "msf": multi_scale_flip,
    "mscf": multi_scale_crop_flip,
}


def half_size(classify: Classify, image: np.ndarray) -> np.ndarray:
    """Predicts logits [H, W, C] of an image [H, W, 3] from half its size.

    Both halves are rounded up to multiples of 32. The paper gives no rule for resizing: this one
    is bilinear with half-pixel centres, which for even sides averages 2 x 2 pixels.
    """
    height, width = image.shape[:2]
    sides = (math.ceil(side / 64) * 32 for side in (height, width))
    return resize_bilinear(classify(resize_bilinear(image, *sides)), height, width)


def scaled(side: int, scale: float) -> int:
    """Returns a side of the image at a scale, rounded down, but at least one pixel."""
    return max(int(scale * side), 1)


def predict_whole(
    classify: Classify, image: np.ndarray, scale: float, mirrored: bool
) -> np.ndarray:
    """Predicts a whole image at one scale.

    Args:
        classify: the network.
        image: [H, W, 3] in [0, 1].
        scale: factor of both sides, which are rounded up to multiples of 32.
        mirrored: whether to add the probabilities of the flipped image.

    Returns:
        Probabilities [H, W, C], or their sum.
    """
    height, width = image.shape[:2]
    sides = (math.ceil(scaled(side, scale) / 32) * 32 for side in (height, width))
    views = predict_views(classify, resize_aligned(image, *sides), mirrored)
    return sum(
        scipy.special.softmax(resize_aligned(view, height, width), axis=-1) for view in views
    )


def predict_windows(
    classify: Classify,
    image: np.ndarray,
    scale: float,
    window: int,
    margin: tuple[float, ...],
    mirrored: bool,
) -> np.ndarray:
    """Sums the predictions of square windows that overlap by a third, at one scale.

    Args:
        classify: the network.
        image: [H, W, 3] in [0, 1].
        scale: factor of both sides.
        window: size of the windows.
        margin: RGB of the padding if a side is not larger than `window`.
        mirrored: whether to add the probabilities of the flipped window; then the exponential of
            their sum is added up, as in the source.

    Returns:
        Sums [H, W, C].
    """
    height, width = image.shape[:2]
    image = resize_aligned(image, scaled(height, scale), scaled(width, scale))
    sides = [(0, 0), (0, 0), (0, 0)]
    if min(image.shape[:2]) <= window:
        for axis in (0, 1):
            missing = max(window - image.shape[axis], 0)
            sides[axis] = (missing // 2, missing - missing // 2)
    padded = np.pad(image - np.float32(margin), sides) + np.float32(margin)
    total = None
    for top in window_starts(padded.shape[0], window):
        for left in window_starts(padded.shape[1], window):
            inside = np.s_[top : top + window, left : left + window]
            views = predict_views(classify, padded[inside], mirrored)
            score = sum(scipy.special.softmax(view, axis=-1) for view in views)
            if total is None:
                total = np.zeros((*padded.shape[:2], score.shape[-1]), np.float32)
            total[inside] += np.exp(score) if mirrored else score
    (top, _), (left, _), _ = sides
    result = total[top : top + image.shape[0], left : left + image.shape[1]]
    return resize_aligned(result, height, width)


def window_starts(length: int, window: int) -> list[int]:
    """Returns where windows begin along a side, 2/3 of a window apart; the last ends the side."""
    step = math.ceil(2 / 3 * window)
    count = math.ceil((length - window) / step) + 1
    return [min(i * step, length - window) for i in range(count)]


def predict_views(classify: Classify, image: np.ndarray, mirrored: bool) -> Iterator[np.ndarray]:
    """Yields the logits [h, w, C] of an image, then those of the flipped image, flipped back."""
    yield classify(image)
    if mirrored:
        yield classify(image[:, ::-1])[:, ::-1]
