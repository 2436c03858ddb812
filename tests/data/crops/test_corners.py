"""The windows of GFM: their sizes, positions and contents."""

import numpy as np
from PIL import Image

from matting_jax.data.crops.corners import composite, photo
from matting_jax.data.crops.windows import photo as centred
from tests.data.groups import crop_group


def group(size=32, corners=(32,), around="unknown"):
    return crop_group(size=size, corners=corners, around=around)


def places(alpha, crop, seeds=range(300)):
    """Returns the top left corners of windows, cut from a photo of its coordinates."""
    rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]]
    image = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    cuts = [photo(np.random.default_rng(seed), image, alpha, crop) for seed in seeds]
    return [tuple(int(x) for x in cut["image"][0, 0, :2]) for cut in cuts]


def test_half_of_the_windows_have_their_corner_in_the_transition_region():
    alpha = np.zeros((100, 120), np.uint8)
    alpha[10, 20] = alpha[60, 30] = alpha[90, 100] = 128
    drawn = places(alpha, group())
    at = [drawn.count(place) / len(drawn) for place in ((10, 20), (60, 30))]
    assert abs(sum(at) - 0.5) < 0.1 and abs(at[0] - at[1]) < 0.1
    # No window fits at the third pixel, and as in the source none touches the last row or column.
    others = {place for place in drawn if place not in ((10, 20), (60, 30))}
    assert max(others)[0] <= 67 and max(column for _, column in others) <= 87
    assert len(others) > 100


def test_windows_lie_anywhere_without_candidate_pixels():
    for alpha, around in ((0, "unknown"), (255, "unknown"), (128, "anywhere")):
        drawn = places(np.full((100, 120), alpha, np.uint8), group(around=around))
        assert len(set(drawn)) > 250
    opaque = np.zeros((100, 120), np.uint8)
    opaque[10, 20] = 255
    assert places(opaque, group(around="foreground")).count((10, 20)) > 100


def test_windows_not_smaller_than_the_photo_have_the_size_of_the_crop():
    """A smaller photo is not cropped."""
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    alpha = np.full((64, 80), 255, np.uint8)
    for corners, side in (((63,), 63), ((64,), 32), ((500,), 32)):
        for seed in range(20):
            crop = group(corners=corners)
            cut = photo(np.random.default_rng(seed), image, alpha, crop)["image"]
            windows = [
                Image.fromarray(image[top : top + side, left : left + side])
                for top in range(64 - side)
                for left in range(80 - side)
            ]
            if side == 32:
                assert any(np.array_equal(cut, window) for window in windows)
            else:
                whole = crop_group(size=32, windows=(63,))
                same = [
                    centred(np.random.default_rng(0), np.asarray(window), None, whole)["image"]
                    for window in windows
                ]
                assert any(np.array_equal(cut, other) for other in same)
    small = np.full((16, 80, 3), 7, np.uint8)
    cut = photo(np.random.default_rng(0), small, None, group(around="anywhere"))
    assert cut["image"].shape == (32, 32, 3) and np.all(cut["image"] == 7)


def test_background_is_stretched_to_the_foreground():
    """Without keeping its aspect ratio, and cut by the same window."""
    rows, columns = np.mgrid[:50, :300]
    background = np.stack([5 * rows, columns // 2, 0 * rows], -1).astype(np.uint8)
    alpha = np.full((100, 120), 255, np.uint8)
    alpha[40, 60] = 128
    rows, columns = np.mgrid[:100, :120]
    foreground = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    for seed in range(20):
        cut = composite(np.random.default_rng(seed), foreground, alpha, background, group())
        rows, columns = (cut["foreground"][..., i].astype(float) for i in (0, 1))
        # The centre of a pixel is at + 0.5.
        np.testing.assert_allclose(cut["background"][..., 0], 2.5 * (rows + 0.5) - 2.5, atol=1.6)
        np.testing.assert_allclose(
            cut["background"][..., 1], 1.25 * (columns + 0.5) - 0.5, atol=1.6
        )
