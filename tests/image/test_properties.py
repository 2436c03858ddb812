"""Invariants of compositing and of resizes on the host."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matting_jax.image import geometry
from matting_jax.image.composite import composite
from matting_jax.image.trimap import from_masks, quantise

HEIGHT, WIDTH = 7, 10
colours = arrays(np.float32, (HEIGHT, WIDTH, 3), elements=st.floats(0, 1, width=32))
alphas = arrays(np.float32, (HEIGHT, WIDTH, 1), elements=st.floats(0, 1, width=32))
masks = arrays(bool, (HEIGHT, WIDTH))
RESIZES = ("resize_area", "resize_bilinear", "resize_aligned", "resize_smooth")

few = settings(deadline=None, max_examples=20, derandomize=True)


@few
@given(colours, alphas, colours)
def test_composite_lies_between_its_layers_and_is_one_of_them_at_0_and_1(front, alpha, back):
    np.testing.assert_array_equal(composite(front, np.ones_like(alpha), back), front)
    np.testing.assert_array_equal(composite(front, np.zeros_like(alpha), back), back)
    mixed = composite(front, alpha, back)
    assert (mixed >= np.minimum(front, back) - 1e-6).all()
    assert (mixed <= np.maximum(front, back) + 1e-6).all()
    # The same layers in the other order, seen through the complement.
    np.testing.assert_allclose(composite(back, 1 - alpha, front), mixed, atol=1e-6)


@pytest.mark.parametrize("name", RESIZES)
@few
@given(colours)
def test_resize_keeps_size_constants_range_and_mirrors(name, image):
    resize, image = getattr(geometry, name), image[None]
    np.testing.assert_allclose(resize(image, HEIGHT, WIDTH), image, atol=1e-5)
    for height, width in ((4, 5), (13, 10), (21, 30)):
        small = resize(image, height, width)
        assert small.shape == (1, height, width, 3)
        assert small.min() >= image.min() - 1e-5 and small.max() <= image.max() + 1e-5
        mirrored = resize(image[:, ::-1, ::-1], height, width)
        np.testing.assert_allclose(mirrored[:, ::-1, ::-1], small, atol=1e-5)
        grey = resize(np.full_like(image, 0.25), height, width)
        np.testing.assert_allclose(grey, 0.25, atol=1e-6)


@few
@given(masks, masks, st.floats(0, 4), st.floats(0, 4))
def test_unknown_region_grows_with_the_distance(foreground, background, one, other):
    background = background & ~foreground
    near, far = (from_masks(foreground, background, x) for x in sorted((one, other)))
    for trimap in (near, far):
        np.testing.assert_array_equal(quantise(trimap), trimap)
        assert foreground[trimap == 1].all() and background[trimap == 0].all()
    known = far != 0.5
    np.testing.assert_array_equal(near[known], far[known])
