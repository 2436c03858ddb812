import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from matting_jax.data.crops.windows import composite, photo
from tests.data.groups import crop_group


def group(size=32, windows=(32,), around="unknown"):
    return crop_group(size=size, windows=windows, around=around)


def coordinates(height, width):
    """uint8 [H, W, 3] of sides up to 256: row, column, 0."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)


def opaque_but(height, width, *pixels):
    alpha = np.full((height, width), 255, np.uint8)
    for pixel in pixels:
        alpha[pixel] = 128
    return alpha


def corner(seed, alpha, crop, name="foreground"):
    cut = composite(
        np.random.default_rng(seed),
        coordinates(*alpha.shape),
        alpha,
        np.zeros((*alpha.shape, 3), np.uint8),
        crop,
    )
    top, left, _ = cut[name][0, 0]
    expected = coordinates(*alpha.shape)[top : top + crop.size, left : left + crop.size]
    np.testing.assert_array_equal(cut[name], expected)
    np.testing.assert_array_equal(
        cut["alpha"][..., 0], alpha[top : top + crop.size, left : left + crop.size]
    )
    return int(top), int(left)


@given(st.data(), st.integers(32, 90), st.integers(32, 90), st.integers(0, 2**32))
def test_window_is_a_slice_that_contains_the_unknown_pixel(data, height, width, seed):
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    top, left = corner(seed, opaque_but(height, width, (row, column)), group())
    assert top == min(max(row - 16, 0), height - 32)
    assert left == min(max(column - 16, 0), width - 32)


def test_pixels_whose_window_fits_are_preferred():
    alpha = opaque_but(100, 120, (2, 3), (15, 60), (16, 60), (83, 103), (84, 60), (99, 119))
    corners = {corner(seed, alpha, group()) for seed in range(40)}
    assert corners == {(0, 44), (67, 87)}
    alpha = opaque_but(100, 120, (2, 3), (99, 119))
    corners = {corner(seed, alpha, group()) for seed in range(20)}
    assert corners == {(0, 0), (68, 88)}


def test_alpha_without_unknown_pixels_is_cropped_at_the_top_left():
    assert {corner(seed, opaque_but(100, 120), group()) for seed in range(5)} == {(0, 0)}


def test_window_may_lie_around_the_foreground_or_anywhere():
    alpha = np.zeros((100, 120), np.uint8)
    alpha[40, 50] = 255
    assert {corner(seed, alpha, group(around="foreground")) for seed in range(5)} == {(24, 34)}
    corners = [corner(seed, alpha, group(around="anywhere")) for seed in range(600)]
    assert {top for top, _ in corners} == set(range(69))
    assert {left for _, left in corners} == set(range(89))


def test_every_size_of_window_is_drawn_and_resized_without_antialiasing():
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    alpha = opaque_but(200, 200, (100, 100))
    crop = group(size=32, windows=(32, 64, 128))
    means = {}
    for side in crop.windows:
        window = image[100 - side // 2 : 100 + side // 2, 100 - side // 2 : 100 + side // 2]
        # Each pixel lies in the middle of its cell of side / 32 pixels, between four pixels of it.
        middle = side // 64
        four = [
            window[down :: side // 32, across :: side // 32].astype(int)
            for down in (max(middle - 1, 0), middle)
            for across in (max(middle - 1, 0), middle)
        ]
        means[side] = (sum(four) + 2) // 4
    seen = set()
    for seed in range(20):
        cut = composite(np.random.default_rng(seed), image, alpha, image, crop)
        sides = [side for side, mean in means.items() if (mean == cut["foreground"]).all()]
        assert len(sides) == 1
        np.testing.assert_array_equal(cut["background"], means[sides[0]])
        seen.update(sides)
    assert seen == {32, 64, 128}


@given(st.integers(5, 150), st.integers(5, 150), st.integers(0, 2**32))
def test_background_is_fitted_as_in_the_script_of_adobe(height, width, seed):
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 256, (height, width, 3), np.uint8)
    ratio = max(90 / width, 70 / height)
    whole = Image.fromarray(background)
    if ratio > 1:
        size = math.ceil(width * ratio), math.ceil(height * ratio)
        whole = whole.resize(size, Image.Resampling.BICUBIC)
    whole = np.asarray(whole)[:70, :90].astype(int)
    cut = composite(
        rng, coordinates(70, 90), rng.integers(0, 256, (70, 90), np.uint8), background, group()
    )
    top, left, _ = cut["foreground"][0, 0]
    # Pillow has 24 bits for the window's position, and rounds after each of two passes.
    assert abs(cut["background"] - whole[top : top + 32, left : left + 32]).max() <= 2


def test_small_foreground_is_enlarged_with_its_background_to_the_window():
    foreground, alpha = 3 * coordinates(32, 64), opaque_but(32, 64, (9, 40), (10, 40))
    background = np.repeat(foreground, 2, 0).repeat(2, 1)  # cropped at its top left
    for turn in (0, 1):
        layers = foreground, alpha, background
        if turn:
            layers = [layer.swapaxes(0, 1) for layer in layers]
        cut = composite(np.random.default_rng(1), *layers, group(size=80, windows=(80,)))
        if turn:
            cut = {name: layer.swapaxes(0, 1) for name, layer in cut.items()}
        rows = np.clip((np.arange(80) + 0.5) / 2.5 - 0.5, 0, 31)
        np.testing.assert_allclose(cut["foreground"][:, 0, 0], 3 * rows, atol=0.51)
        np.testing.assert_allclose(cut["background"][:, 0, 0] / 1.5, rows, atol=1.01)
        columns = cut["foreground"][0, :, 1].astype(float)
        np.testing.assert_allclose(np.diff(columns), 3 / 2.5, atol=1)
        # The unknown pixels, at 100 of 160, are in the middle of the 80 columns.
        assert abs(columns[40] - 3 * 40) <= 3
        assert 0 < cut["alpha"][25, 40, 0] < 255


def test_colours_hidden_under_alpha_0_do_not_bleed_into_the_edge():
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, 21:] = 255
    colours = np.where(alpha[..., None] > 0, np.uint8(200), np.uint8(0)) * np.ones(3, np.uint8)
    cut = composite(
        np.random.default_rng(0), colours, alpha, colours, group(48, (64,), "foreground")
    )
    edge = (cut["alpha"][..., 0] > 20) & (cut["alpha"][..., 0] < 235)
    assert edge.any()
    assert (cut["foreground"][edge] == 200).all()
    assert (cut["background"][edge] < 200).all()


def test_photo_is_cut_around_its_unknown_pixels():
    image, alpha = coordinates(100, 120), opaque_but(100, 120, (50, 61))
    cut = photo(np.random.default_rng(0), image, alpha, group())
    np.testing.assert_array_equal(cut["image"], image[34:66, 45:77])
    corners = {
        tuple(photo(np.random.default_rng(i), image, None, group(around="anywhere"))["image"][0, 0])
        for i in range(40)
    }
    assert len(corners) > 30


def padding(size=32, windows=(32, 48, 64), around="anywhere"):
    return crop_group(size=size, windows=windows, around=around, small="pad")


def test_small_images_are_padded_at_the_bottom_and_on_the_right():
    foreground, alpha = coordinates(20, 25), np.full((20, 25), 200, np.uint8)
    background = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    for seed in range(6):
        cut = composite(np.random.default_rng(seed), foreground, alpha, background, padding())
        np.testing.assert_array_equal(cut["foreground"][:20, :25], foreground)
        np.testing.assert_array_equal(cut["background"][:20, :25], background[:20, :25])
        np.testing.assert_array_equal(cut["alpha"][:20, :25, 0], alpha)
        image = photo(np.random.default_rng(seed), foreground, alpha, padding())
        np.testing.assert_array_equal(image["image"], cut["foreground"])
        np.testing.assert_array_equal(image["alpha"], cut["alpha"])
        for name, value in {"foreground": 128, "background": 128, "alpha": 0}.items():
            cut[name][:20, :25] = value
            assert (cut[name] == value).all()


def test_windows_of_padded_images_are_clipped_to_the_image():
    """All 50 rows are in every crop of windows of 64, and 64 columns from anywhere."""
    foreground, alpha = 2 * coordinates(50, 100), np.full((50, 100), 255, np.uint8)
    rows = 2 * ((np.arange(32) + 0.5) * 50 / 32 - 0.5)
    lefts = set()
    for seed in range(300):
        crop = padding(windows=(64,))
        cut = composite(np.random.default_rng(seed), foreground, alpha, foreground, crop)
        np.testing.assert_allclose(cut["foreground"][:, 0, 0], rows, atol=0.51)
        np.testing.assert_array_equal(cut["background"], cut["foreground"])
        columns = cut["foreground"][0, :, 1].astype(int)
        np.testing.assert_allclose(columns - columns[0], 4 * np.arange(32), atol=1)
        lefts.add((columns[0] - 1) // 2)
    assert lefts == set(range(37))


def test_windows_of_padded_images_lie_around_the_unknown_pixel():
    alpha = opaque_but(40, 100, (30, 70))
    crop = padding(windows=(64,), around="unknown")
    cut = photo(np.random.default_rng(0), coordinates(40, 100), alpha, crop)
    # Columns 36 to 99 of 100, two of which are one of the crop's.
    np.testing.assert_allclose(cut["image"][0, :, 1], 36.5 + 2 * np.arange(32), atol=0.51)
    assert cut["alpha"].min() < 255


def test_short_sides_are_reduced_before_the_window_is_cut():
    """To 48 px: all of 96 rows are in the window; 40 rows are not reduced but padded."""
    crop = padding(48, (48,))
    crop.max_short = 48
    lefts = set()
    for seed in range(600):
        cut = photo(np.random.default_rng(seed), coordinates(96, 150), None, crop)
        np.testing.assert_allclose(cut["image"][:, 0, 0], 0.5 + 2 * np.arange(48), atol=0.51)
        columns = cut["image"][0, :, 1].astype(int)
        np.testing.assert_array_equal(columns - columns[0], 2 * np.arange(48))
        lefts.add(columns[0] - 1)
    assert lefts == set(range(55))
    small = coordinates(40, 150)
    cut = photo(np.random.default_rng(0), small, np.full((40, 150), 255, np.uint8), crop)
    np.testing.assert_array_equal(cut["image"][:40, :, 0], small[:, :48, 0])
