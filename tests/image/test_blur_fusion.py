"""Foreground colours on the device against the official values."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy import ndimage

from matting_jax.image.blur_fusion import LARGE, blur_fusion, blur_fusion_by_steps
from matting_jax.image.filters import box_mean
from matting_jax.image.geometry import resize_bilinear
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


def test_blur_fusion_by_steps_finds_the_colours_about_as_well():
    """A subject of many colours over another one, through a wide soft edge."""
    rng = np.random.default_rng(0)
    size = (LARGE, LARGE + 30)
    coarse = rng.random((2, 1, 9, 9, 3)).astype(np.float32)
    foreground, background = (np.asarray(resize_bilinear(x, *size)) for x in coarse)
    distance = np.hypot(*np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j])
    alpha = np.clip((0.7 - distance) / 0.1 + 0.5, 0, 1).astype(np.float32)[None, ..., None]
    image = alpha * foreground + (1 - alpha) * background
    error = {
        name: np.abs(alpha * (np.asarray(jax.jit(function)(image, alpha)[0]) - foreground)).mean()
        for name, function in (("whole", blur_fusion), ("steps", blur_fusion_by_steps))
    }
    assert error["steps"] < 1.25 * error["whole"]
    assert error["steps"] < 0.8 * np.abs(alpha * (image - foreground)).mean()


def test_blur_fusion_by_steps_of_a_small_image_is_blur_fusion():
    image, alpha = GOLDEN["image"][None], GOLDEN["alpha"][None, ..., None]
    ours, expected = (
        str(jax.make_jaxpr(function)(image, alpha))
        for function in (blur_fusion_by_steps, blur_fusion)
    )
    assert ours == expected
