import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from matting_jax.data.crops import affine
from matting_jax.data.crops.affine import composite, inverse_matrix, lets_through
from tests.data.groups import crop_group


def group(
    size=32,
    around="unknown",
    rotation=0.0,
    scale=(1.0, 1.0),
    shear=0.0,
    flip=0.0,
    square=0.0,
    square_size=40,
):
    options = dict(
        rotation=rotation,
        scale=scale,
        shear=shear,
        flip=flip,
        square=square,
        square_size=square_size,
    )
    return crop_group(size=size, around=around, affine=options)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 255, shape, np.uint8)


def coordinates(height, width):
    """uint8 [H, W, 3] of sides up to 254: row + 1, column + 1, 7."""
    rows, columns = np.mgrid[1 : height + 1, 1 : width + 1]
    return np.stack([rows, columns, 0 * rows + 7], -1).astype(np.uint8)


def stretched(image, height, width):
    rows = [i * len(image) // height for i in range(height)]
    columns = [i * image.shape[1] // width for i in range(width)]
    return image[rows][:, columns]


def warped(image, matrix):
    """Returns an image whose pixel (x, y) is the one next to matrix @ (x, y, 1), or 0."""
    height, width = image.shape[:2]
    output = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            column, row = (int(np.floor(v + 0.5)) for v in matrix @ (x, y, 1))
            if 0 <= row < height and 0 <= column < width:
                output[y, x] = image[row, column]
    return output


def bicubic(image, height, width):
    wide = Image.fromarray(image).resize((width, len(image)), Image.Resampling.BICUBIC)
    return np.asarray(wide.resize((width, height), Image.Resampling.BICUBIC)).astype(int)


def corner(part, whole):
    """Returns top and left of the only position of `part` in `whole`, both [H, W, C]."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)[:, :, 0]
    (place,) = np.argwhere((windows == part).all((2, 3, 4)))
    return tuple(place)


@pytest.fixture
def matrices(monkeypatch):
    """The canvases and matrices of the transformations."""
    drawn = []

    def recorded(canvas, **parameters):
        drawn.append((canvas, inverse_matrix(canvas, **parameters)))
        return drawn[-1][1]

    monkeypatch.setattr(affine, "inverse_matrix", recorded)
    return drawn


def test_matrix_inverts_flip_scale_rotation_and_shear_about_the_centre():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turn, lean = rng.uniform(-30, 30), rng.uniform(-10, 10)
        scale, mirror = rng.uniform(0.8, 1.25, 2), rng.choice([-1, 1], 2)
        a, b = np.radians([turn, turn + lean])
        forward = np.array([[np.cos(b), -np.sin(b)], [np.sin(a), np.cos(a)]]) @ np.diag(
            scale * mirror
        )
        matrix = inverse_matrix((60, 100), turn, scale, lean, mirror)
        np.testing.assert_allclose(matrix[:, :2] @ forward, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(matrix @ [50.5, 30.5, 1], [50.5, 30.5])


@settings(max_examples=30, deadline=None)
@given(st.integers(33, 90), st.integers(33, 90), st.integers(0, 2**32))
def test_without_a_transformation_the_crop_is_a_slice(height, width, seed):
    foreground, background = coordinates(height, width), noise(50, 20, 3)
    alpha = noise(height, width, seed=seed)
    cut = composite(np.random.default_rng(seed), foreground, alpha, background, group())
    top, left = cut["foreground"][0, 0, :2].astype(int) - 1
    window = np.s_[top : top + 32, left : left + 32]
    np.testing.assert_array_equal(cut["foreground"], foreground[window])
    np.testing.assert_array_equal(cut["alpha"][..., 0], alpha[window])
    # Pillow has 24 bits for the window's position, and rounds after each of two passes.
    assert abs(cut["background"] - bicubic(background, height, width)[window]).max() <= 2


@pytest.mark.parametrize("square", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(70, 50), (20, 43)])
def test_crop_is_a_window_of_the_result_of_the_single_steps(matrices, square, shape):
    foreground, alpha = noise(*shape, 3), noise(*shape, seed=1)
    second = noise(33, 61, 3, seed=2), noise(33, 61, seed=3)
    crop = group(
        rotation=30.0, scale=(0.8, 1.25), shear=10.0, flip=0.5, square=square, square_size=57
    )
    for seed in range(4):
        rng = np.random.default_rng(seed)
        cut = composite(rng, foreground, alpha, noise(9, 9, 3), crop, second)
        canvas, matrix = matrices.pop()
        assert canvas == ((57, 57) if square else shape)
        whole = {}
        for name, layer in zip(
            ("foreground", "alpha", "foreground2", "alpha2"),
            (foreground, alpha, *(stretched(layer, *shape) for layer in second)),
            strict=True,
        ):
            layer = warped(stretched(layer.reshape(*shape, -1), *canvas), matrix)
            if min(canvas) <= 32:
                ratio = 1.1 * 32 / min(canvas)
                layer = stretched(layer, *(int(length * ratio) for length in canvas))
            whole[name] = layer
        top, left = corner(cut["foreground"], whole["foreground"])
        for name, layer in whole.items():
            np.testing.assert_array_equal(cut[name], layer[top : top + 32, left : left + 32])


def test_crop_lies_around_unknown_pixels_of_a_grid():
    alpha = np.full((120, 160), 255, np.uint8)
    alpha[60:84, 40:56] = 128
    corners = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cut = composite(rng, coordinates(120, 160), alpha, noise(9, 9, 3), group())
        top, left = cut["foreground"][0, 0, :2].astype(int) - 1
        corners.add((int(top), int(left)))
    assert corners == {(row - 16, col - 16) for row in range(60, 84, 4) for col in range(40, 56, 4)}


def test_visible_unknown_pixels_of_the_second_foreground_are_candidates():
    alpha, alpha2 = np.zeros((120, 160), np.uint8), np.zeros((60, 80), np.uint8)
    alpha[:, 80:] = 255
    alpha2[30:42, 20:28] = alpha2[30:42, 60:68] = 128
    for seed in range(60):
        cut = composite(
            np.random.default_rng(seed),
            coordinates(120, 160),
            alpha,
            noise(9, 9, 3),
            group(),
            (coordinates(60, 80), alpha2),
        )
        top, left = cut["foreground"][0, 0, :2].astype(int) - 1
        assert 60 <= top + 16 < 84 and 40 <= left + 16 < 56
        np.testing.assert_array_equal(
            cut["alpha2"][..., 0], stretched(alpha2, 120, 160)[top : top + 32, left : left + 32]
        )


def test_with_few_unknown_pixels_the_crop_lies_anywhere():
    alpha = np.full((60, 70), 255, np.uint8)
    alpha[24:36, 24:36] = 128  # nine of the grid
    corners = set()
    for seed in range(500):
        rng = np.random.default_rng(seed)
        cut = composite(rng, coordinates(60, 70), alpha, noise(9, 9, 3), group())
        corners.add(tuple(cut["foreground"][0, 0, :2].astype(int) - 1))
    assert {top for top, _ in corners} == set(range(29))
    assert {left for _, left in corners} == set(range(39))


@pytest.mark.parametrize("value", [0, 255])
def test_foreground_of_constant_alpha_is_not_cropped(value):
    alpha, background = np.full((64, 96), value, np.uint8), noise(50, 20, 3)
    cut = composite(np.random.default_rng(0), coordinates(64, 96), alpha, background, group())
    np.testing.assert_array_equal(cut["foreground"], coordinates(64, 96)[::2, ::3])
    assert (cut["alpha"] == value).all()
    np.testing.assert_array_equal(cut["background"], bicubic(background, 32, 32))


@given(st.integers(0, 2**32), st.sampled_from([(6, 7), (3, 9), (12, 14)]))
def test_second_foreground_is_kept_if_a_combined_alpha_is_below_1(seed, shape):
    rng = np.random.default_rng(seed)
    alpha, alpha2 = (rng.choice([0, 254, 255], s, p=[0.01, 0.02, 0.97]) for s in ((6, 7), shape))
    combined = 1 - (1 - alpha / 255) * (1 - stretched(alpha2, 6, 7) / 255)
    assert lets_through(alpha, alpha2) == (combined < 1).any()


def test_second_foreground_that_hides_the_background_is_dropped():
    foreground, solid = noise(60, 70, 3), np.full((60, 70), 255, np.uint8)
    alpha = noise(60, 70)
    with_second = composite(
        np.random.default_rng(0), foreground, alpha, noise(9, 9, 3), group(), (foreground, solid)
    )
    without = composite(np.random.default_rng(0), foreground, alpha, noise(9, 9, 3), group())
    for name in without:
        np.testing.assert_array_equal(with_second[name], without[name])
    assert not without["alpha2"].any()
    np.testing.assert_array_equal(without["foreground2"], without["foreground"])


def test_only_large_foregrounds_are_rotated(matrices):
    crop = group(rotation=30.0)
    for shape in ((17, 1023), (1024, 17)):
        composite(np.random.default_rng(0), noise(*shape, 3), noise(*shape), noise(9, 9, 3), crop)
    (_, small), (_, large) = matrices
    np.testing.assert_allclose(small, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    turn = np.degrees(np.arctan2(large[0, 1], large[0, 0]))
    assert 1 < abs(turn) < 30


def test_parameters_are_drawn_from_their_whole_ranges(matrices):
    crop = group(scale=(0.8, 1.25), shear=10.0, flip=0.25, square=0.25)
    for seed in range(800):
        rng = np.random.default_rng(seed)
        composite(rng, noise(40, 50, 3), noise(40, 50), noise(9, 9, 3), crop)
    canvases, linear = zip(*((c, m[:, :2]) for c, m in matrices), strict=True)
    assert abs(np.mean([canvas == (40, 40) for canvas in canvases]) - 0.25) < 0.05
    forward = np.linalg.inv(linear)
    mirrored = np.stack([forward[:, 0, 0] < 0, forward[:, 1, 1] < 0])
    np.testing.assert_allclose(mirrored.mean(1), 0.25, atol=0.05)
    assert abs((mirrored[0] & mirrored[1]).mean() - 0.0625) < 0.03
    # Without rotation the second column of the forward matrix is scale_y (-sin shear, 1).
    scales = np.stack([abs(forward[:, 1, 1]), np.hypot(forward[:, 0, 0], forward[:, 1, 0])])
    shears = np.degrees(np.arctan2(-forward[:, 0, 1] * np.sign(forward[:, 1, 1]), scales[0]))
    assert 0.8 <= scales[0].min() < 0.81 and 1.24 < scales[0].max() <= 1.25
    assert abs(np.corrcoef(scales)[0, 1]) < 0.1
    assert -10.1 < shears.min() < -9.5 and 9.5 < shears.max() < 10.1
