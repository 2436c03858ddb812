import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from matting_jax.data.crops.rescale import crop_background, crop_foreground
from tests.data.groups import crop_group


def group(size=32, rescale=(24, 48), around="anywhere"):
    return crop_group(size=size, rescale=rescale, around=around)


def gradient(height, width):
    """uint8 [H, W, 3]: column, row, and their mean."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, (columns + rows) // 2], -1).astype(np.uint8)


def place(part, whole):
    """Returns the position of `part` in `whole`, both uint8 [H, W, C], up to rounding."""
    windows = np.lib.stride_tricks.sliding_window_view(whole.astype(int), part.shape)[:, :, 0]
    hits = np.argwhere((abs(windows - part) <= 3).all((2, 3, 4)))
    return tuple(hits[0]) if len(hits) else None


@pytest.mark.parametrize("length", [80, 100, 150])
def test_crop_is_a_slice_of_the_rescaled_foreground(length):
    colours = np.random.default_rng(0).integers(1, 256, (60, 100, 3), np.uint8)
    crop = group(size=40, rescale=(length, length))
    size = (length, round(0.6 * length))
    whole = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR))
    places = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        foreground, alpha = crop_foreground(rng, colours, colours[..., 2], crop)
        np.testing.assert_array_equal(alpha[..., 0], foreground[..., 2])
        places.add(place(foreground, whole))
    assert None not in places and len(places) > 8


def test_small_foreground_lies_anywhere_and_is_padded_with_alpha_0():
    colours = gradient(50, 100)
    corners = set()
    for seed in range(200):
        foreground, alpha = crop_foreground(
            np.random.default_rng(seed),
            colours,
            np.full((50, 100), 255, np.uint8),
            group(size=32, rescale=(20, 20)),
        )
        rows, columns = np.nonzero(alpha[..., 0])
        top, left = rows.min(), columns.min()
        inside = np.zeros((32, 32), bool)
        inside[top : top + 10, left : left + 20] = True
        np.testing.assert_array_equal(alpha[..., 0], 255 * inside)
        assert (foreground[:top] == foreground[top]).all()
        assert (foreground[:, left + 20 :] == foreground[:, left + 19 : left + 20]).all()
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(23))
    assert {left for _, left in corners} == set(range(13))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32), st.booleans())
def test_colours_and_alpha_have_the_same_window_at_any_size(height, width, seed, cover):
    rng = np.random.default_rng(seed)
    alpha = rng.integers(1, 256, (height, width), np.uint8)
    around = ("anywhere", "foreground", "unknown")[seed % 3]
    colours, cut = crop_foreground(
        rng, np.repeat(alpha[..., None], 3, -1), alpha, group(around=around), cover
    )
    assert colours.shape == (32, 32, 3) and cut.shape == (32, 32, 1)
    assert colours.dtype == cut.dtype == np.uint8
    inside = cut[..., 0] > 0
    assert inside.all() or not cover
    np.testing.assert_array_equal(colours[inside], np.repeat(cut[inside], 3, -1))


def test_length_is_drawn_from_the_whole_range():
    steps = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        foreground, _ = crop_foreground(
            rng, gradient(200, 200), np.zeros((200, 200), np.uint8), group(rescale=(100, 400))
        )
        row = foreground[16, :, 0].astype(float)
        steps.append((row[-1] - row[0]) / 31)
    lengths = 200 / np.array(steps)
    assert 95 < lengths.min() < 110 and 370 < lengths.max() < 430
    assert abs(np.mean(lengths) - 250) < 20


@pytest.mark.parametrize("around, value", [("foreground", 255), ("unknown", 128)])
def test_window_is_centred_on_a_candidate_pixel(around, value):
    alpha = np.zeros((200, 300), np.uint8)
    if around == "unknown":
        alpha[20:60, 20:60] = 255
    alpha[101, 177] = value
    colours = gradient(200, 300)
    colours[101, 177] = 255
    _, cut = crop_foreground(
        np.random.default_rng(0), colours, alpha, group(size=33, rescale=(300, 300), around=around)
    )
    if around == "unknown":
        assert cut[16, 16, 0] == 128 or cut[15:18, 15:18].max() == 128
    else:
        assert cut[15:18, 15:18].max() == 255
    assert np.count_nonzero(cut) == 1


def test_window_stays_inside_a_larger_foreground():
    alpha = np.zeros((200, 300), np.uint8)
    alpha[0, 299] = 255
    colours = gradient(200, 300)
    foreground, cut = crop_foreground(
        np.random.default_rng(0), colours, alpha, group(rescale=(300, 300), around="foreground")
    )
    assert cut[0, 31, 0] == 255
    np.testing.assert_array_equal(foreground, colours[:32, 268:])


def test_alpha_without_candidate_pixels_is_cropped_anywhere():
    _, cut = crop_foreground(
        np.random.default_rng(0),
        gradient(50, 50),
        np.zeros((50, 50), np.uint8),
        group(around="unknown"),
    )
    assert not cut.any()


def test_window_of_the_background_is_square_and_inside():
    spans = []
    for seed in range(200):
        cut = crop_background(np.random.default_rng(seed), gradient(160, 240), group())
        assert cut.shape == (32, 32, 3) and cut.dtype == np.uint8
        across, down = (
            (cut[16, -1, 0] - float(cut[16, 0, 0])),
            (cut[-1, 16, 1] - float(cut[0, 16, 1])),
        )
        assert abs(across - down) <= 2
        spans.append(across * 32 / 31)
    assert 76 < min(spans) < 90 and 150 < max(spans) < 163


def test_small_background_fills_the_crop():
    cut = crop_background(np.random.default_rng(0), gradient(7, 200) + 1, group())
    assert cut.shape == (32, 32, 3)
    assert (cut[0, :, 1] == 1).all() and (cut[-1, :, 1] == 7).all()


def test_colours_hidden_under_alpha_0_do_not_bleed_into_the_edge():
    """A cut-out saved with black under its transparent pixels gets no dark fringe when reduced."""
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, 21:] = 255
    colours = np.where(alpha[..., None] > 0, np.uint8(200), np.uint8(0)) * np.ones(3, np.uint8)
    rng = np.random.default_rng(0)
    foreground, reduced = crop_foreground(rng, colours, alpha, group(16, (16, 16)))
    edge = (reduced > 20) & (reduced < 235)
    assert edge.any()
    np.testing.assert_allclose(foreground[edge[..., 0]], 200, atol=1)
