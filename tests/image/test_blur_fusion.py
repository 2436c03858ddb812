"""Foreground colours on the device against the official values."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy import ndimage

from matting_jax.image.blur_fusion import blur_fusion
from matting_jax.image.filters import box_mean
from tests.helpers import GOLDENS

GOLDEN = np.load(GOLDENS / "foreground_cases.npz")


@pytest.mark.parametrize(
    "sizes, expected",
    [
        ((90,), {0: "blur1_fg", 1: "blur1_bg"}),
        ((90, 6), {0: "blur2_fg"}),
    ],
)
def test_blur_fusion_equals_official_for_each_sample_of_a_batch(sizes, expected):
    """The second sample's alpha is almost everywhere 0; it must not affect the first sample."""
    image, alpha = (np.stack([GOLDEN[x]] * 2) for x in ("image", "alpha"))
    alpha[1] *= alpha[1] > 0.99
    results = jax.jit(partial(blur_fusion, sizes=sizes))(image, alpha[..., None])
    for i, key in expected.items():
        np.testing.assert_allclose(results[i][0], GOLDEN[key], rtol=0, atol=1e-6)
    assert np.all(np.isfinite(results)) and not np.array_equal(results[0][0], results[0][1])


@pytest.mark.parametrize("size", [1, 2, 6, 7, 90])
@pytest.mark.parametrize("shape", [(31, 40), (1, 9)])
def test_box_mean_equals_scipy(shape, size):
    x = np.random.default_rng(0).random((2, *shape, 3)).astype(np.float32)
    expected = ndimage.uniform_filter(x.astype(np.float64), (1, size, size, 1), mode="mirror")
    ours = jax.jit(box_mean, static_argnums=1)(x, size)
    np.testing.assert_allclose(ours, expected, rtol=3e-7, atol=0)


def test_opaque_pixels_keep_their_colour():
    rng = np.random.default_rng(0)
    image = rng.random((1, 30, 30, 3)).astype(np.float32)
    alpha = rng.integers(0, 2, (1, 30, 30, 1)).astype(np.float32)
    foreground, _ = jax.jit(blur_fusion)(image, alpha)
    opaque = alpha[..., 0] == 1
    np.testing.assert_allclose(foreground[opaque], image[opaque], rtol=0, atol=1e-6)
