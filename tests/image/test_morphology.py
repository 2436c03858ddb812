"""Morphology and trimaps against SciPy and the official values, bit for bit."""
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from matting_jax.image import morphology, trimap

GOLDENS = Path(__file__).parents[1] / "goldens"
LOSSES = np.load(GOLDENS / "modnet_losses.npz")
TRIMAPS = np.load(GOLDENS / "trimap_cases.npz")
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
    np.testing.assert_array_equal(
        ours[0][..., 0], ndimage.grey_dilation(x, cval=-np.inf, **window)
    )
    np.testing.assert_array_equal(ours[1][..., 0], ndimage.grey_erosion(x, cval=np.inf, **window))


def test_mapped_sizes_equal_single_ones():
    """Under vmap, as on an accelerator, each sample has its own size."""
    x = np.random.default_rng(0).random((4, 12, 15, 1)).astype(np.float32)
    sizes = jnp.array([1, 6, 13, 20])
    together = jax.vmap(dilate)(x, sizes)
    for image, size, result in zip(x, sizes, together, strict=True):
        np.testing.assert_array_equal(result, dilate(image, size))


def test_trimap_equals_the_authors_recipe():
    alpha = TRIMAPS["alpha"][..., None].astype(np.float32) / 255
    ours = jax.jit(partial(trimap.modnet, largest=20))(alpha, 13, 16)
    np.testing.assert_array_equal(2 * ours[..., 0], TRIMAPS["modnet_train_d13_e16"])


@settings(deadline=None, max_examples=20)
@given(dilation=st.integers(1, 20), erosion=st.integers(1, 20), seed=st.integers(0, 99))
def test_known_pixels_of_a_trimap_are_right(dilation, erosion, seed):
    noise = np.random.default_rng(seed).standard_normal((40, 40))
    alpha = np.clip(3 * ndimage.gaussian_filter(noise, 4) * 4, 0, 1).astype(np.float32)[..., None]
    made = jax.jit(partial(trimap.modnet, largest=20))(alpha, dilation, erosion)
    assert set(np.unique(made)) <= {0, 0.5, 1}
    assert np.all(alpha[made == 0] == 0)
    assert np.all(alpha[made == 1] >= 0.9)
    assert np.all(made[(alpha > 0) & (alpha < 0.9)] == 0.5)


@pytest.mark.parametrize("size", [*range(1, 13), 25, 29, 50])
def test_ellipse_equals_opencv(size):
    np.testing.assert_array_equal(morphology.ellipse(size), PADDLE[f"ellipse_{size}"])


def test_set_dilated_by_an_even_ellipse_leans_as_in_opencv():
    """A single place grows by one before and two after: the element is not mirrored."""
    x = np.zeros((9, 9, 1), bool)
    x[4, 4] = True
    y = np.asarray(morphology.dilate_set(x, 1, morphology.ellipse(4)))[..., 0]
    np.testing.assert_array_equal(np.flatnonzero(y[4]), [3, 4, 5, 6])
    np.testing.assert_array_equal(np.flatnonzero(y[:, 4]), [3, 4, 5, 6])
    assert y.sum() == 13


def test_set_not_dilated_once_is_the_set():
    x = np.random.default_rng(0).random((7, 8, 2)) < 0.3
    np.testing.assert_array_equal(morphology.dilate_set(x, 0, morphology.ellipse(3)), x)


elliptic = jax.jit(trimap.elliptic, static_argnames="sizes")


@pytest.mark.parametrize(("size", "times"), [(k, n) for k in (2, 3, 4) for n in (5, 9, 14)])
def test_elliptic_trimap_equals_paddleseg(size, times):
    alpha = PADDLE["alpha"][..., None].astype(np.float32) / 255
    codes = np.asarray(elliptic(alpha, size, times))[..., 0]
    expected = {0: 0, 128: 0.5, 255: 1}
    golden = np.vectorize(expected.get)(PADDLE[f"trimap_k{size}_i{times}"])
    np.testing.assert_array_equal(codes, golden)


def test_elliptic_trimap_of_a_photo_equals_paddleseg():
    alpha = TRIMAPS["alpha"][..., None].astype(np.float32) / 255
    golden = np.asarray(TRIMAPS["paddle_train_k3_i8"], np.float32)
    golden = np.where(golden == 128, 0.5, golden / 255)
    np.testing.assert_array_equal(np.asarray(elliptic(alpha, 3, 8))[..., 0], golden)


def test_each_sample_has_a_shape_and_a_number_of_its_own():
    alpha = PADDLE["alpha"][..., None].astype(np.float32) / 255
    sizes, times = jnp.array([2, 4, 3, 4]), jnp.array([5, 14, 9, 5])
    together = jax.jit(jax.vmap(lambda k, n: trimap.elliptic(alpha, k, n)))(sizes, times)
    for size, number, result in zip(sizes, times, together, strict=True):
        golden = PADDLE[f"trimap_k{size}_i{number}"]
        np.testing.assert_array_equal(255 * (result[..., 0] == 1), np.where(golden == 255, 255, 0))
        np.testing.assert_array_equal(result[..., 0] == 0, golden == 0)
