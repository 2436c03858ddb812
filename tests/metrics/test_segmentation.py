"""Mean IoU by hand, and the evaluation protocols against PyTorch."""

import math

import numpy as np
import pytest

from matting_jax.metrics import segmentation

MARGIN = (0.3, 0.4, 0.5)


def test_confusion_and_iou_equal_those_by_hand():
    label = np.array([[0, 0, 0, 1], [1, 1, 2, 255]])
    prediction = np.array([[0, 0, 1, 1], [1, 2, 2, 0]])
    matrix = segmentation.confusion(prediction, label, 4)
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    # Hits / (union + 1), with unions 3, 4, 2 and 0.
    expected = [2 / 4, 2 / 5, 1 / 3, 0]
    np.testing.assert_allclose(segmentation.class_iou(matrix), expected)
    assert segmentation.mean_iou(matrix) == pytest.approx(np.mean(expected))


def test_confusion_adds_up_over_images():
    rng = np.random.default_rng(0)
    label, prediction = rng.integers(0, 5, (2, 3, 16, 16))
    each = [segmentation.confusion(*pair, 5) for pair in zip(prediction, label, strict=True)]
    np.testing.assert_array_equal(sum(each), segmentation.confusion(prediction, label, 5))
    for i in range(5):
        for j in range(5):
            assert sum(each)[i, j] == np.sum((label == i) & (prediction == j))


def test_invalid_label_is_an_error():
    with pytest.raises(ValueError, match="labels must be from 0 to 2, or 255 .* got 0 to 3"):
        segmentation.confusion(np.zeros((1, 2), int), np.array([[0, 3]]), 3)
    with pytest.raises(ValueError, match="shape"):
        segmentation.confusion(np.zeros((1, 2), int), np.zeros((2, 1), int), 3)


def network(image):
    """Returns logits that depend on the colours and on the position in the window."""
    height, width = image.shape[:2]
    assert height % 32 == width % 32 == 0
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([8 * image[..., 0], 8 * image[..., 1] * image[..., 2], y / 40, x / 50], -1)


class OfficialProtocols:
    """The published evaluation protocols in PyTorch, on normalised images [1, C, H, W]."""

    def __init__(self, torch, deviation=0.2):
        self.torch, self.deviation = torch, deviation
        self.margin = torch.tensor(MARGIN)[None, :, None, None]

    def normalised(self, image):
        image = self.torch.tensor(image).permute(2, 0, 1)[None]
        return (image - self.margin) / self.deviation

    def logits(self, image):
        image = (image * self.deviation + self.margin)[0].permute(1, 2, 0).numpy()
        return self.torch.tensor(network(image)).permute(2, 0, 1)[None]

    def resize(self, x, size):
        return self.torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=True)

    def whole(self, image, scales, flip):
        size, total = image.shape[2:], 0
        for scale in scales:
            sides = [math.ceil(int(scale * side) / 32) * 32 for side in size]
            scaled = self.resize(image, sides)
            total = total + self.resize(self.logits(scaled), size).softmax(1)
            if flip:
                turned = self.logits(scaled.flip(3)).flip(3)
                total = total + self.resize(turned, size).softmax(1)
        return total

    def windows(self, image, window, scales, flip):
        size, total = image.shape[2:], 0
        for scale in scales:
            scaled = self.resize(image, [int(side * scale) for side in size])
            height, width = scaled.shape[2:]
            if window < height and window < width:
                padded, top, left = scaled, 0, 0
            else:
                padded = self.torch.zeros(1, 3, max(window, height), max(window, width))
                top, left = (padded.shape[2] - height) // 2, (padded.shape[3] - width) // 2
                padded[:, :, top : top + height, left : left + width] = scaled
            score = self.torch.zeros(1, 4, *padded.shape[2:])
            step = math.ceil(window * 2 / 3)
            rows, columns = (math.ceil((side - window) / step) + 1 for side in padded.shape[2:])
            for i in range(rows):
                for j in range(columns):
                    bottom = min(padded.shape[2], step * i + window)
                    right = min(padded.shape[3], step * j + window)
                    inside = np.s_[:, :, bottom - window : bottom, right - window : right]
                    part = self.logits(padded[inside]).softmax(1)
                    if flip:
                        part = part + self.logits(padded[inside].flip(3)).flip(3).softmax(1)
                        part = part.exp()
                    score[inside] += part
            score = score[:, :, top : top + height, left : left + width]
            total = total + self.resize(score, size)
        return total


@pytest.mark.parametrize("size", [(50, 140), (96, 120), (70, 64)])
@pytest.mark.parametrize("protocol", segmentation.PROTOCOLS)
def test_protocols_equal_the_published_ones(protocol, size):
    """Windows inside the image, at its border, and larger than a side of it."""
    official = OfficialProtocols(pytest.importorskip("torch"))
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    x = official.normalised(image)
    expected = {
        "ss": lambda: official.whole(x, (1.0,), False),
        "ssc": lambda: official.windows(x, 64, (1.0,), False),
        "msf": lambda: official.whole(x, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), True),
        "mscf": lambda: official.windows(x, 64, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), True),
    }[protocol]()
    ours = segmentation.PROTOCOLS[protocol](network, image, 64, MARGIN)
    np.testing.assert_allclose(ours, expected[0].permute(1, 2, 0), rtol=2e-4, atol=2e-4)
