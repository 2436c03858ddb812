"""Blurs and colour operations."""

import colorsys

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from matting_jax.image import colour
from matting_jax.image.colour import (
    distort,
    distort_hsv,
    jitter,
    jitter_hsv,
    normalise,
    shift_hsv,
)
from matting_jax.image.filters import blur3, box_blur, gaussian_blur, gaussian_blur_sigma, sharpen
from tests.goldens import synth
from tests.helpers import GOLDENS

GOLDEN = np.load(GOLDENS / "modnet_losses.npz")
PADDLE = np.load(GOLDENS / "modnet_paddle_augment.npz")
NONE = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}


def test_blur_of_an_impulse_is_the_official_kernel():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1)
    np.testing.assert_allclose(blur3(x)[0, 1:4, 1:4, 0], GOLDEN["blur_kernel"], atol=1e-7)


def test_jitter_without_ranges_changes_nothing():
    image = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(jitter(jax.random.key(0), image, NONE), image)


def test_brightness_shifts_all_pixels_equally_within_its_range():
    image = np.full((4, 4, 3), 0.5, np.float32)
    shifts = [
        jitter(jax.random.key(seed), image, NONE | {"brightness": 0.2}) - image for seed in range(8)
    ]
    assert all(np.ptp(shift) < 1e-6 and np.abs(shift).max() <= 0.2 for shift in shifts)
    assert np.ptp([shift[0, 0, 0] for shift in shifts]) > 0.05


def test_contrast_saturation_and_hue_keep_grey():
    """A constant grey has no contrast, no saturation and no hue."""
    image = np.full((4, 4, 3), 0.4, np.float32)
    for name in ("contrast", "saturation", "hue"):
        result = jitter(jax.random.key(1), image, NONE | {name: 0.3})
        np.testing.assert_allclose(result, image, atol=1e-6, err_msg=name)


def test_saturation_of_a_colour_changes():
    image = np.broadcast_to(np.array([0.7, 0.4, 0.2], np.float32), (2, 2, 3))
    results = [jitter(jax.random.key(s), image, NONE | {"saturation": 0.5}) for s in range(4)]
    assert all(np.abs(result - image).max() > 1e-3 for result in results)


def test_jitter_equals_its_four_steps():
    """Saturation and hue change in one conversion, as in one after the other by dm_pix."""
    ranges = {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2, "hue": 0.02}
    image = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), 4)
        expected = dm_pix.random_brightness(keys[0], image, 0.1)
        expected = dm_pix.random_contrast(keys[1], expected, 0.85, 1.15)
        expected = dm_pix.random_saturation(keys[2], expected, 0.8, 1.2)
        expected = dm_pix.random_hue(keys[3], expected, 0.02)
        ours = jitter(jax.random.key(seed), image, ranges)
        np.testing.assert_allclose(ours, np.clip(expected, 0, 1), atol=2e-6)


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_gaussian_blur_equals_opencv(size):
    blurred = jax.jit(gaussian_blur)(PADDLE["blur_in"], size)
    np.testing.assert_allclose(blurred, PADDLE[f"blur_{size}"], atol=1e-6)


@pytest.mark.parametrize("size", [3, 9, 31])
def test_gaussian_blur_with_sigma_equals_scipy(size):
    x = np.random.default_rng(0).random((40, 36, 2)).astype(np.float32)
    expected = x
    for axis in (0, 1):
        expected = ndimage.gaussian_filter1d(expected, 5, axis, mode="mirror", radius=size // 2)
    blurred = jax.jit(gaussian_blur_sigma, static_argnums=(1, 3))(x, 5.0, size, 31)
    np.testing.assert_allclose(blurred, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [0.55, 1.45])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_scaled_colours_equal_pillow_up_to_rounding(name, factor):
    image = PADDLE["distort_in"].astype(np.float32) / 255
    ours = getattr(colour, f"scale_{name}")(image, factor)
    difference = np.abs(255 * np.asarray(ours) - PADDLE[f"{name}_{factor}"])
    assert difference.max() <= 1.5


@pytest.mark.parametrize("turn", [-15, 12])
def test_rotated_hue_equals_pillow_up_to_rounding(turn):
    """Pillow stores hue and saturation as bytes, an error of a few levels of 255."""
    image = PADDLE["distort_in"].astype(np.float32) / 255
    difference = 255 * np.asarray(colour.rotate_hue(image, turn / 255)) - PADDLE[f"hue_{turn}"]
    assert np.abs(difference).max() <= 8 and np.abs(difference).mean() < 0.5
    unturned = 255 * image - PADDLE[f"hue_{turn}"]
    assert np.abs(unturned).mean() > 4


CERTAIN = {"chance": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
order = np.arange(4)


def test_distortion_without_probability_or_ranges_changes_nothing():
    image = PADDLE["distort_in"].astype(np.float32) / 255
    for ranges in (CERTAIN, dict.fromkeys(CERTAIN, 0.5) | {"chance": 0.0}):
        result = distort(jax.random.key(0), image, ranges, order)
        np.testing.assert_allclose(result, image, atol=2e-6)


def test_distortion_follows_its_order():
    """Brightening with clipping and reducing contrast do not commute."""
    image = PADDLE["distort_in"].astype(np.float32) / 255
    ranges = CERTAIN | {"brightness": 0.5, "contrast": 0.5}

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


def test_each_colour_change_has_its_probability():
    image = np.full((2, 2, 3), 0.5, np.float32)
    ranges = CERTAIN | {"chance": 0.25, "brightness": 0.5}
    results = jax.vmap(lambda key: distort(key, image, ranges, order))(
        jax.random.split(jax.random.key(0), 400)
    )
    changed = np.abs(results - image).max((1, 2, 3)) > 1e-5
    assert 0.19 < changed.mean() < 0.31
    assert np.all((results >= 0.25 - 1e-6) & (results <= 0.75 + 1e-6))


def test_normalisation_equals_that_of_bytes():
    """mmagic's constants are for bytes: 123.675, 116.28, 103.53 and 58.395, 57.12, 57.375."""
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float32)
    expected = (image - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(normalise(image / 255), expected, atol=1e-6)


def shifted_by_hand(image, hue, saturation, value):
    """Computes `shift_hsv` pixel by pixel, by Python's colorsys."""

    def reflect(x):
        return 2 - abs(x) if abs(x) > 1 else abs(x)

    def pixel(colour):
        h, s, v = colorsys.rgb_to_hsv(*colour)
        return colorsys.hsv_to_rgb((h + hue / 360) % 1, reflect(s + saturation), reflect(v + value))

    return np.apply_along_axis(pixel, -1, image.astype(np.float64))


def colours_of_all_kinds():
    image = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    image[0, :3] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]]
    image[1, :3] = np.eye(3)
    return image


@pytest.mark.parametrize(
    "shift", [(0, 0, 0), (-40, 0.1, -0.1), (39, -0.11, 0.11), (170, -0.9, 0.9), (200, 0.8, -0.8)]
)
def test_shifted_hsv_equals_the_plain_formula(shift):
    image = colours_of_all_kinds()
    ours = jax.jit(shift_hsv)(image, *map(float, shift))
    np.testing.assert_allclose(ours, shifted_by_hand(image, *shift), atol=3e-6)


def test_hsv_jitter_shifts_by_whole_degrees_within_its_range():
    """The range of saturation and value is 0.1 * (1.1 - mean)."""
    image, alpha = 0.5 + 0.4 * colours_of_all_kinds(), np.ones((6, 7, 1), np.float32)
    alpha[3:] = 0
    hsv = np.apply_along_axis(lambda x: colorsys.rgb_to_hsv(*x), -1, image.astype(np.float64))
    reach = 0.1 * (1.1 - hsv[:3, :, 1:].mean((0, 1)))
    ranges = {"hue": 40, "saturation": 0.1, "value": 0.1}
    jittered = jax.jit(jax.vmap(lambda key: jitter_hsv(key, image, alpha, ranges)))(
        jax.random.split(jax.random.key(0), 300)
    )
    # The shift is read from a pixel that no shift reflects at 0 or 1.
    saturation, value = hsv[..., 1], hsv[..., 2]
    row, column = np.argwhere((saturation > 0.2) & (saturation < 0.8) & (value < 0.85))[0]
    after = np.array([colorsys.rgb_to_hsv(*x[row, column]) for x in np.asarray(jittered, float)])
    degrees = ((after[:, 0] - hsv[row, column, 0]) * 360 + 180) % 360 - 180
    np.testing.assert_allclose(degrees, np.rint(degrees), atol=1e-2)
    drawn = np.rint(degrees)
    assert drawn.min() >= -40 and drawn.max() <= 39 and drawn.min() < -35 and drawn.max() > 35
    moved = after[:, 1:] - hsv[row, column, 1:]
    assert np.all(np.abs(moved) <= reach + 1e-5) and np.all(np.abs(moved).max(0) > 0.95 * reach)
    assert np.all(moved.min(0) < -0.9 * reach)
    one = np.argmax(np.abs(drawn))
    expected = shifted_by_hand(image, drawn[one], *moved[one])
    np.testing.assert_allclose(jittered[one], expected, atol=2e-5)


def test_hsv_jitter_keeps_an_image_whose_alpha_is_zero():
    image, ranges = colours_of_all_kinds(), {"hue": 40, "saturation": 0.1, "value": 0.1}
    result = jitter_hsv(jax.random.key(0), image, np.zeros((6, 7, 1), np.float32), ranges)
    np.testing.assert_array_equal(result, image)


AUGMENT = np.load(GOLDENS / "bgmv2_aug.npz")


@pytest.mark.parametrize("size", [20, 21])
def test_box_blur_equals_kornia(size):
    x = synth.image(28, 36, 3, 2, 5)[..., :1]
    for image, expected in zip(x, AUGMENT[f"box_blur_{size}"], strict=True):
        blurred = box_blur(image, jnp.asarray(size), 39, "reflect")
        np.testing.assert_allclose(blurred, expected, atol=2e-6)


def test_changes_in_hsv_equal_kornia():
    names = ("brightness", "contrast", "saturation", "hue")
    amounts = np.stack([AUGMENT[f"jitter_{name}_factor"] for name in names], -1) - [1, 1, 1, 0]
    for number in (0, 1):
        order = AUGMENT[f"jitter_{number}_order"]
        for image, amount, expected in zip(
            synth.image(28, 36, 3, 2, 5), amounts, AUGMENT[f"jitter_{number}"], strict=True
        ):
            changed = distort_hsv(jnp.asarray(image), jnp.asarray(amount), jnp.asarray(order))
            np.testing.assert_allclose(changed, expected, atol=5e-6)


def test_sharpening_and_box_blur_equal_pillow():
    """Up to Pillow's rounding to bytes."""
    image = np.rint(255 * synth.image(24, 30, 3, 1, 0)[0]).astype(np.uint8)
    photo = Image.fromarray(image)
    ours = sharpen(jnp.asarray(image / np.float32(255)))
    theirs = np.asarray(photo.filter(ImageFilter.SHARPEN)) / 255
    np.testing.assert_allclose(ours, theirs, atol=0.51 / 255)
    for radius in (0, 1, 4):
        ours = box_blur(image / np.float32(255), jnp.asarray(2 * radius + 1), 11, "edge")
        theirs = np.asarray(photo.filter(ImageFilter.BoxBlur(radius))) / 255
        np.testing.assert_allclose(ours, theirs, atol=1.01 / 255)


def bisenet_bytes(image, brightness, contrast, saturation):
    """Computes BiSeNet's jitter of a uint8 image by tables and a matrix."""
    levels = np.arange(256)
    for table in (levels * brightness, 74 + (levels - 74) * contrast):
        image = np.clip(table, 0, 255).astype(np.uint8)[image]
    matrix = np.full((3, 3), 1 - saturation) + 3 * saturation * np.eye(3)
    return np.clip(image @ matrix / 3 + 1e-6, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "all"])
def test_jitter_of_bytes_equals_bisenet_for_the_drawn_factors(name):
    names = ("brightness", "contrast", "saturation")
    ranges = {other: 0.4 * (name in (other, "all")) for other in names}
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(4):
        key = jax.random.key(seed)
        factors = 1 + np.array(list(ranges.values())) * jax.random.uniform(key, (3,), minval=-1)
        ours = colour.jitter_bytes(key, image.astype(np.float32) / 255, ranges)
        expected = bisenet_bytes(image, *np.asarray(factors, np.float64))
        difference = np.abs(255 * np.asarray(ours) - expected)
        # A product close to an integer may be rounded down or up.
        assert difference.max() < 2.5 and (difference > 1e-3).mean() < 3e-3


def test_jitter_of_bytes_without_ranges_keeps_every_byte():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    none = dict.fromkeys(("brightness", "contrast", "saturation"), 0.0)
    ours = colour.jitter_bytes(jax.random.key(0), image.astype(np.float32) / 255, none)
    np.testing.assert_array_equal(np.rint(255 * np.asarray(ours)), image)
    np.testing.assert_allclose(255 * np.asarray(ours), image, atol=1e-4)
