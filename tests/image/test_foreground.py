"""Foreground colours: equal to the references, and better than the photo's colours."""

import numpy as np
import pytest
from PIL import Image

from matting_jax.image.foreground import METHODS
from tests.helpers import GOLDENS, soft_disc

GOLDEN = np.load(GOLDENS / "foreground_cases.npz")


@pytest.mark.parametrize("method, key", [("multilevel", "ml_fg"), ("blur", "blur2_fg")])
def test_colours_equal_official(method, key):
    image, alpha = (np.rint(255 * GOLDEN[x]).astype(np.uint8) for x in ("image", "alpha"))
    ours = METHODS[method](image, alpha)
    opaque = alpha == 255
    np.testing.assert_array_equal(ours[opaque], image[opaque])
    assert np.abs(ours.astype(int) - 255 * GOLDEN[key])[~opaque].max() <= 0.51


def texture(rng, height, width):
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)


@pytest.mark.parametrize("method, left", [("multilevel", 0.6), ("blur", 0.8)])
def test_soft_edges_lose_the_background(method, left):
    rng = np.random.default_rng(2)
    alpha = soft_disc(90, 120)
    weight = alpha[..., None] / 255
    foreground, background = texture(rng, 90, 120), texture(rng, 90, 120)
    image = np.rint(weight * foreground + (1 - weight) * background).astype(np.uint8)
    soft = (alpha > 0) & (alpha < 255)
    ours = np.abs(METHODS[method](image, alpha) - foreground)[soft].mean()
    assert ours < left * np.abs(image - foreground)[soft].mean()
