"""Composition, blur and colour jitter."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.image.colour import jitter
from matting_jax.image.composite import composite
from matting_jax.image.filters import blur3

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "modnet_losses.npz")
NONE = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}


def test_composite_is_the_equation():
    rng = np.random.default_rng(0)
    f, b, a = rng.random((4, 5, 3)), rng.random((4, 5, 3)), rng.random((4, 5, 1))
    np.testing.assert_allclose(composite(f, a, b), a * f + (1 - a) * b)


def test_blur_of_an_impulse_is_the_official_kernel():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1)
    np.testing.assert_allclose(blur3(x)[0, 1:4, 1:4, 0], GOLDEN["blur_kernel"], atol=1e-7)


def test_jitter_without_ranges_changes_nothing():
    image = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(jitter(jax.random.key(0), image, NONE), image)


def test_brightness_moves_all_pixels_alike_within_its_range():
    image = np.full((4, 4, 3), 0.5, np.float32)
    shifts = [
        jitter(jax.random.key(seed), image, NONE | {"brightness": 0.2}) - image for seed in range(8)
    ]
    assert all(np.ptp(shift) < 1e-6 and np.abs(shift).max() <= 0.2 for shift in shifts)
    assert np.ptp([shift[0, 0, 0] for shift in shifts]) > 0.05


def test_contrast_saturation_and_hue_leave_grey_grey():
    """About its mean, a flat grey has no contrast; it has no colour to strengthen or turn."""
    image = np.full((4, 4, 3), 0.4, np.float32)
    for name in ("contrast", "saturation", "hue"):
        result = jitter(jax.random.key(1), image, NONE | {name: 0.3})
        np.testing.assert_allclose(result, image, atol=1e-6, err_msg=name)


def test_saturation_of_a_colour_changes():
    image = np.broadcast_to(np.array([0.7, 0.4, 0.2], np.float32), (2, 2, 3))
    results = [jitter(jax.random.key(s), image, NONE | {"saturation": 0.5}) for s in range(4)]
    assert all(np.abs(result - image).max() > 1e-3 for result in results)
