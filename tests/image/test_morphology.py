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
