"""Morphology against SciPy and the official values, bit for bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from matting_jax.image import morphology
from tests.helpers import GOLDENS, dilated

LOSSES = np.load(GOLDENS / "modnet_losses.npz")
PADDLE = np.load(GOLDENS / "modnet_paddle_augment.npz")

dilate = jax.jit(partial(morphology.dilate, largest=20))
erode = jax.jit(partial(morphology.erode, largest=20))


@pytest.mark.parametrize("size", range(2, 7))
def test_morphology_equals_official(size):
    x = LOSSES["morph_in"][..., None]
    np.testing.assert_array_equal(dilate(x, size)[..., 0], LOSSES[f"morph_dil{size}"])
    np.testing.assert_array_equal(erode(x, size)[..., 0], LOSSES[f"morph_ero{size}"])


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_morphology_equals_scipy(size, seed):
    x = np.random.default_rng(seed).random((17, 23)).astype(np.float32)
    ours = dilate(x[..., None], size), erode(x[..., None], size)
    window = {"size": (size, size), "mode": "constant"}
    np.testing.assert_array_equal(ours[0][..., 0], ndimage.grey_dilation(x, cval=-np.inf, **window))
    np.testing.assert_array_equal(ours[1][..., 0], ndimage.grey_erosion(x, cval=np.inf, **window))


def test_batched_sizes_equal_single_ones():
    """Under vmap, as on an accelerator, each sample has its own size."""
    x = np.random.default_rng(0).random((4, 12, 15, 1)).astype(np.float32)
    sizes = jnp.array([1, 6, 13, 20])
    together = jax.vmap(dilate)(x, sizes)
    for image, size, result in zip(x, sizes, together, strict=True):
        np.testing.assert_array_equal(result, dilate(image, size))


@pytest.mark.parametrize("size", [*range(1, 13), 25, 29, 50])
def test_ellipse_equals_opencv(size):
    np.testing.assert_array_equal(morphology.ellipse(size), PADDLE[f"ellipse_{size}"])


ELLIPSES = [morphology.ellipse(k) for k in range(1, 13)]
DISCS = [morphology.disc(k) for k in range(1, 10)]
dilate_by_ellipse = jax.jit(partial(morphology.dilate_mask, elements=ELLIPSES))
dilate_by_disc = jax.jit(partial(morphology.dilate_mask, elements=DISCS))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 11), st.integers(0, 3), st.floats(0, 0.2), st.integers(0, 2**16))
def test_dilated_mask_equals_the_definition(which, times, share, seed):
    x = np.random.default_rng(seed).random((17, 23)) < share
    ours = dilate_by_ellipse(x[..., None], which=which, times=times)[..., 0]
    np.testing.assert_array_equal(ours, dilated(x, ELLIPSES[which], times))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.floats(0.001, 0.1), st.integers(0, 2**16))
def test_dilation_by_a_disc_equals_the_exact_distance(radius, share, seed):
    x = np.random.default_rng(seed).random((17, 23)) < share
    x[3, 4] = True
    ours = dilate_by_disc(x[..., None], which=radius - 1)[..., 0]
    np.testing.assert_array_equal(ours, ndimage.distance_transform_edt(~x) <= radius)


@pytest.mark.parametrize("height", [31, 32, 70, 101])
def test_dilation_crosses_the_rows_of_a_word(height):
    """32 rows are the bits of one integer; an element may reach over several of them."""
    x = np.random.default_rng(height).random((height, 40)) < 0.002
    x[[0, -1], [5, 30]] = True
    elements = [morphology.ellipse(k) for k in (1, 33, 70)]
    dilate = jax.jit(partial(morphology.dilate_mask, elements=elements))
    for which, element in enumerate(elements):
        ours = dilate(x[..., None], which=which)[..., 0]
        np.testing.assert_array_equal(ours, dilated(x, element))


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_squares_equal_scipys_windows(size):
    x = np.random.default_rng(size).random((17, 23)) < 0.1
    window = {"size": (size, size), "mode": "constant"}
    mirrored = morphology.dilate_mask(x[..., None], [morphology.square(size, mirrored=True)], 0)
    np.testing.assert_array_equal(mirrored[..., 0], ndimage.grey_dilation(x, cval=0, **window))
    eroded = ~morphology.dilate_mask(~x[..., None], [morphology.square(size)], 0)
    np.testing.assert_array_equal(eroded[..., 0], ndimage.grey_erosion(x, cval=1, **window))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([1, 2, 3, 6, 11, 12, 25, 50]), st.floats(0, 0.1), st.integers(0, 2**16))
def test_dilation_on_the_host_equals_the_definition(size, share, seed):
    x = np.random.default_rng(seed).random((37, 61)) < share
    ours = morphology.dilate_host_mask(x, morphology.ellipse(size))
    np.testing.assert_array_equal(ours, dilated(x, morphology.ellipse(size)))


def test_dilation_by_an_even_ellipse_is_off_centre_as_in_opencv():
    """A single pixel grows by one before and two after: the element is not mirrored."""
    x = np.zeros((9, 9, 1), bool)
    x[4, 4] = True
    y = np.asarray(dilate_by_ellipse(x, which=3))[..., 0]
    np.testing.assert_array_equal(np.flatnonzero(y[4]), [3, 4, 5, 6])
    np.testing.assert_array_equal(np.flatnonzero(y[:, 4]), [3, 4, 5, 6])
    assert y.sum() == 13
