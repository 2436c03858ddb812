"""Composition, blurs and changes of colour."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.image import colour
from matting_jax.image.colour import distort, jitter
from matting_jax.image.composite import composite
from matting_jax.image.filters import blur3, gaussian_blur

GOLDENS = Path(__file__).parents[1] / "goldens"
GOLDEN = np.load(GOLDENS / "modnet_losses.npz")
PADDLE = np.load(GOLDENS / "modnet_paddle_augment.npz")
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


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_gaussian_blur_equals_opencv(size):
    blurred = jax.jit(gaussian_blur)(PADDLE["blur_in"], size)
    np.testing.assert_allclose(blurred, PADDLE[f"blur_{size}"], atol=1e-6)


@pytest.mark.parametrize("factor", [0.55, 1.45])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_scaled_colours_equal_pillow_to_its_rounding(name, factor):
    image = PADDLE["distort_in"].astype(np.float32) / 255
    ours = getattr(colour, f"scale_{name}")(image, factor)
    difference = np.abs(255 * np.asarray(ours) - PADDLE[f"{name}_{factor}"])
    assert difference.max() <= 1.5


@pytest.mark.parametrize("turn", [-15, 12])
def test_turned_hue_equals_pillow_to_its_rounding(turn):
    """Pillow keeps hue and saturation in bytes, which costs a few levels of 255."""
    image = PADDLE["distort_in"].astype(np.float32) / 255
    difference = 255 * np.asarray(colour.turn_hue(image, turn / 255)) - PADDLE[f"hue_{turn}"]
    assert np.abs(difference).max() <= 8 and np.abs(difference).mean() < 0.5
    unturned = 255 * image - PADDLE[f"hue_{turn}"]
    assert np.abs(unturned).mean() > 4


ALONE = {"chance": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
order = np.arange(4)


def test_distortion_without_chance_or_ranges_changes_nothing():
    image = PADDLE["distort_in"].astype(np.float32) / 255
    for ranges in (ALONE, dict.fromkeys(ALONE, 0.5) | {"chance": 0.0}):
        result = distort(jax.random.key(0), image, ranges, order)
        np.testing.assert_allclose(result, image, atol=2e-6)


def test_distortion_follows_its_order():
    """Bright first and clipped, then with less contrast, is not the other way round."""
    image = PADDLE["distort_in"].astype(np.float32) / 255
    ranges = ALONE | {"brightness": 0.5, "contrast": 0.5}

    def expected(operations, amounts):
        x = image
        for i, operation in enumerate(operations):
            scale = {0: colour.scale_brightness, 1: colour.scale_contrast}.get(operation)
            x = scale(x, 1 + 0.5 * amounts[i]) if scale else x
        return x

    key = jax.random.key(4)
    amounts = jax.random.uniform(jax.random.split(key)[0], (4,), jnp.float32, -1, 1)
    results = []
    for operations in ((0, 1, 2, 3), (1, 3, 2, 0)):
        result = distort(key, image, ranges, np.array(operations))
        np.testing.assert_allclose(result, expected(operations, amounts), atol=3e-6)
        results.append(result)
    assert np.abs(results[0] - results[1]).max() > 0.01


def test_each_change_of_colour_has_its_chance():
    image = np.full((2, 2, 3), 0.5, np.float32)
    ranges = ALONE | {"chance": 0.25, "brightness": 0.5}
    results = jax.vmap(lambda key: distort(key, image, ranges, order))(
        jax.random.split(jax.random.key(0), 400)
    )
    changed = np.abs(results - image).max((1, 2, 3)) > 1e-5
    assert 0.19 < changed.mean() < 0.31
    assert np.all((results >= 0.25 - 1e-6) & (results <= 0.75 + 1e-6))


def bisenet_bytes(image, brightness, contrast, saturation):
    """BiSeNet's jitter of an image in bytes, by tables and a matrix."""
    levels = np.arange(256)
    for table in (levels * brightness, 74 + (levels - 74) * contrast):
        image = np.clip(table, 0, 255).astype(np.uint8)[image]
    matrix = np.full((3, 3), 1 - saturation) + 3 * saturation * np.eye(3)
    return np.clip(image @ matrix / 3 + 1e-6, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "all"])
def test_jitter_of_bytes_is_bisenets_at_the_drawn_factors(name):
    names = ("brightness", "contrast", "saturation")
    ranges = {other: 0.4 * (name in (other, "all")) for other in names}
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(4):
        key = jax.random.key(seed)
        factors = 1 + np.array(list(ranges.values())) * jax.random.uniform(key, (3,), minval=-1)
        ours = colour.jitter_bytes(key, image.astype(np.float32) / 255, ranges)
        expected = bisenet_bytes(image, *np.asarray(factors, np.float64))
        difference = np.abs(255 * np.asarray(ours) - expected)
        # A product close to a whole number falls to either side of it, and its byte with it.
        assert difference.max() < 2.5 and (difference > 1e-3).mean() < 3e-3


def test_jitter_of_bytes_without_ranges_keeps_every_byte():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    none = dict.fromkeys(("brightness", "contrast", "saturation"), 0.0)
    ours = colour.jitter_bytes(jax.random.key(0), image.astype(np.float32) / 255, none)
    np.testing.assert_array_equal(np.rint(255 * np.asarray(ours)), image)
    np.testing.assert_allclose(255 * np.asarray(ours), image, atol=1e-4)
