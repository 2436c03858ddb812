"""Random affine transformations and warping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from matting_jax.image.affine import random_affine, warp

STILL = {"rotation": 0.0, "shear": 0.0, "translation": 0.0, "scale": (1.0, 1.0)}
X = np.random.default_rng(0).random((11, 15, 2)).astype(np.float32)


def drawn(**ranges):
    return random_affine(jax.random.key(3), {**STILL, **ranges}, *X.shape[:2])


@pytest.mark.parametrize("nearest", [True, False])
def test_zero_ranges_keep_the_image(nearest):
    np.testing.assert_allclose(warp(X, drawn(), nearest), X, atol=1e-6)


@pytest.mark.parametrize("order", [0, 1])
def test_warp_equals_scipy(order):
    """Compared inside only: at the edge SciPy is 0 at once, and this fades over a pixel."""
    transform = np.asarray(drawn(rotation=20.0, shear=15.0, scale=(1.2, 1.4)))
    swapped = transform[::-1, [1, 0]]  # SciPy's positions are (y, x)
    middle = (np.array(X.shape[:2]) - 1) / 2
    offset = transform[::-1, 2] + middle - swapped @ middle
    expected = np.stack(
        [ndimage.affine_transform(X[..., i], swapped, offset, order=order) for i in (0, 1)], -1
    )
    np.testing.assert_allclose(
        warp(X, transform, order == 0)[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-5
    )


def test_translations_are_whole_pixels_and_fill_with_zeros():
    transform = drawn(translation=0.3)
    move = -np.asarray(transform)[:, 2]
    assert np.array_equal(move, np.round(move)) and np.any(move)
    assert np.all(np.abs(move) <= 0.3 * np.array([15, 11]) + 0.5)
    expected = np.zeros_like(X)
    for y, x in np.ndindex(11, 15):
        row, column = int(y - move[1]), int(x - move[0])
        if 0 <= row < 11 and 0 <= column < 15:
            expected[y, x] = X[row, column]
    np.testing.assert_allclose(warp(X, transform), expected, atol=1e-6)


def test_scale_enlarges_about_the_centre():
    transform = drawn(scale=(2.0, 2.0))
    enlarged = warp(jnp.asarray(X), transform, nearest=True)
    np.testing.assert_array_equal(enlarged[5, 1::2], X[5, 4:11][: enlarged[5, 1::2].shape[0]])


def test_ranges_are_covered_to_their_limits():
    ranges = {**STILL, "rotation": 5.0, "scale": (0.5, 1.5)}
    keys = jax.random.split(jax.random.key(0), 400)
    transforms = jax.vmap(lambda key: random_affine(key, ranges, 11, 15))(keys)
    scales = 1 / np.sqrt(np.linalg.det(np.asarray(transforms[:, :, :2])))
    angles = np.rad2deg(np.arctan2(transforms[:, 0, 1], transforms[:, 0, 0]))
    assert 0.5 <= scales.min() < 0.52 and 1.48 < scales.max() <= 1.5001
    assert -5 <= angles.min() < -4.9 and 4.9 < angles.max() <= 5
