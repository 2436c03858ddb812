"""Resizing against the official values and against jax.image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.image import geometry, matrices
from tests.goldens import synth
from tests.helpers import GOLDENS

small = st.integers(1, 12)
GOLDEN = np.load(GOLDENS / "modnet_losses.npz")


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_upsample_and_its_gradient_equal_jax_image(factor):
    x = np.random.default_rng(0).random((2, 5, 6, 3)).astype(np.float32)
    shape = (2, factor * 5, factor * 6, 3)
    cotangent = np.random.default_rng(1).random(shape).astype(np.float32)

    def plain(x):
        return jax.image.resize(x, shape, "bilinear", antialias=False)

    for ours, theirs in zip(
        jax.tree.leaves(pull_back(lambda x: geometry.upsample(x, factor), x, cotangent)),
        jax.tree.leaves(pull_back(plain, x, cotangent)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_downsample_and_its_gradient_equal_jax_image(factor):
    x = np.random.default_rng(0).random((2, 32, 48, 3)).astype(np.float32)
    shape = (2, 32 // factor, 48 // factor, 3)
    cotangent = np.random.default_rng(1).random(shape).astype(np.float32)

    def plain(x):
        return jax.image.resize(x, shape, "bilinear", antialias=False)

    for ours, theirs in zip(
        pull_back(lambda x: geometry.downsample(x, factor), x, cotangent),
        pull_back(plain, x, cotangent),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def pull_back(function, x, cotangent):
    y, gradient = jax.vjp(function, x)
    return y, gradient(cotangent)[0]


def test_upsampled_constants_stay_exactly_constant():
    """SOC of MODNet compares floats for equality after enlargement by 16."""
    x = jnp.ones((1, 3, 4, 1))
    np.testing.assert_array_equal(geometry.upsample(x, 16), 1)


def test_downsample_by_a_factor_that_does_not_divide_raises_an_error():
    with pytest.raises(ValueError, match="30x32 by 16"):
        geometry.downsample(jnp.zeros((1, 30, 32, 1)), 16)


@pytest.mark.parametrize("size", [(32, 32), (13, 17), (20, 64)])
def test_area_resize_equals_official(size):
    golden = GOLDEN["area_{}x{}".format(*size)][0]
    np.testing.assert_allclose(geometry.resize_area(GOLDEN["area_in"][0], *size), golden, atol=1e-6)


@settings(deadline=None)
@given(old=st.tuples(small, small), new=st.tuples(small, small))
def test_area_resize_is_the_mean_of_each_cell(old, new):
    x = np.random.default_rng(0).random((*old, 2)).astype(np.float32)
    resized = geometry.resize_area(x, *new)
    cells = [
        [slice(i * a // b, -(-(i + 1) * a // b)) for i in range(b)]
        for a, b in zip(old, new, strict=True)
    ]
    expected = [[x[rows, columns].mean((0, 1)) for columns in cells[1]] for rows in cells[0]]
    np.testing.assert_allclose(resized, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 17), (64, 100), (37, 60), (5, 53)])
def test_bilinear_resize_equals_opencv(size):
    golden = np.load(GOLDENS / "modnet_paddle_100x140_s1.npz")
    ours = geometry.resize_bilinear(golden["bilinear_in"], *size)
    np.testing.assert_allclose(ours, golden["bilinear_{}x{}".format(*size)], atol=3e-6)


def test_bilinear_resize_reads_only_the_two_neighbours():
    """Half-pixel centres, no antialiasing: of 6 pixels to 2, those at 1 and 4."""
    x = np.arange(6, dtype=np.float32).reshape(6, 1, 1) ** 2
    np.testing.assert_array_equal(geometry.resize_bilinear(x, 2, 1).ravel(), [1, 16])
    np.testing.assert_array_equal(geometry.resize_bilinear(x[:2], 4, 1).ravel(), [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(geometry.resize_bilinear(x[:1] + 3, 3, 2), np.full((3, 2, 1), 3))


@pytest.mark.parametrize("resize", [geometry.resize_area, geometry.resize_bilinear])
def test_resize_to_the_same_size_changes_nothing(resize):
    x = GOLDEN["area_in"][0]
    np.testing.assert_array_equal(resize(x, *x.shape[:2]), x)


@pytest.mark.parametrize("new", [(5, 30), (13, 17), (40, 9), (1, 1)])
@pytest.mark.parametrize("kind", ["area", "bilinear", "aligned", "smooth"])
def test_resized_stacks_equal_resized_images_in_numpy_and_jax(kind, new):
    resize = getattr(geometry, f"resize_{kind}")
    x = np.random.default_rng(0).random((2, 13, 17, 3), np.float32)
    host = resize(x, *new)
    assert host.shape == (2, *new, 3)
    for image, resized in zip(x, host, strict=True):
        np.testing.assert_array_equal(resize(image, *new), resized)
    compiled = jax.jit(lambda x: resize(x, *new))(x)
    assert compiled.dtype == np.float32
    np.testing.assert_allclose(compiled, host, atol=1e-6)


@pytest.mark.parametrize("new", [(256, 300), (700, 611), (256, 192), (256, 128)])
@pytest.mark.parametrize("resize", [geometry.resize_area, geometry.resize_bilinear])
def test_large_images_are_resized_in_a_compiled_program_as_on_the_host(resize, new):
    x = np.random.default_rng(0).random((1, 400, 512, 2), np.float32)
    assert min(a * b for a, b in zip(new, x.shape[1:3], strict=True)) >= matrices.LARGE_MATRIX
    np.testing.assert_allclose(jax.jit(lambda x: resize(x, *new))(x), resize(x, *new), atol=1e-6)


def test_block_of_a_reducing_matrix_is_found_where_it_repeats():
    block = matrices.repeated_block(matrices.area_weights(1920, 896))
    assert block.shape == (7, 15)
    np.testing.assert_allclose(block[1], np.array([0, 0, 1, 1, 1, *[0] * 10]) / 3)
    assert matrices.repeated_block(matrices.area_weights(1921, 896)) is None  # one large block
    assert matrices.repeated_block(matrices.area_weights(896, 1920)) is None  # enlarges
    np.testing.assert_array_equal(
        matrices.repeated_block(matrices.bilinear_weights(512, 128)), [[0, 0.5, 0.5, 0]]
    )


@given(height=small, width=small, multiple=st.sampled_from([1, 2, 8, 32]))
def test_padding_reflects_at_the_bottom_and_right_several_times_if_necessary(
    height, width, multiple
):
    image = np.arange(height * width * 2).reshape(height, width, 2)
    padded = geometry.pad_to_multiple(image, multiple)
    assert all(side % multiple == 0 for side in padded.shape[:2])
    assert all(a - b < multiple for a, b in zip(padded.shape, image.shape, strict=True))
    rows, columns = (
        # Indices go back and forth over the side; a side of 1 is repeated.
        np.abs((np.arange(new) + old - 1) % max(2 * old - 2, 1) - (old - 1))
        for new, old in zip(padded.shape, image.shape[:2], strict=False)
    )
    np.testing.assert_array_equal(padded, image[rows][:, columns])
    np.testing.assert_array_equal(geometry.pad_to_multiple(image[None], multiple), padded[None])


@pytest.mark.parametrize("size", [(1, 5), (3, 1), (5, 40), (32, 64)])
def test_padding_in_jax_equals_numpy(size):
    image = np.random.default_rng(0).random((2, *size, 3), np.float32)
    padded = geometry.pad_to_multiple(image, 32)
    compiled = jax.jit(lambda x: geometry.pad_to_multiple(x, 32))(image)
    np.testing.assert_array_equal(compiled, padded)


def test_cells_of_adaptive_pooling_overlap():
    """PyTorch's adaptive pooling of 2 and 7 pixels to 5, and enlargement with aligned corners."""
    x = jnp.arange(7.0)[None, :, None, None]
    pooled = geometry.resize_area(jnp.broadcast_to(x, (1, 7, 2, 1)), 5, 5)
    np.testing.assert_allclose(pooled[0, :, 0, 0], [0.5, 1.5, 3, 4.5, 5.5])
    two = jnp.array([1.0, 4.0])[None, None, :, None]
    np.testing.assert_allclose(geometry.resize_area(two, 5, 5)[0, 0, :, 0], [1, 1, 2.5, 4, 4])
    enlarged = geometry.resize_aligned(jnp.array([0.0, 1.0, 4.0])[None, :, None, None], 5, 1)
    np.testing.assert_allclose(enlarged[0, :, 0, 0], [0, 0.5, 1, 2.5, 4])
    np.testing.assert_allclose(geometry.resize_aligned(two[:, :, :1], 3, 2), 1)


def test_smooth_resize_blurs_only_where_it_reduces():
    """Reduction to a third blurs with standard deviation 1; enlargement does not blur."""
    impulse = np.zeros((27, 9, 1))
    impulse[13] = 1
    weights = np.exp(-np.square(np.arange(-4, 5)) / 2)
    weights /= weights.sum()
    reduced = geometry.resize_smooth(impulse, 9, 9)
    np.testing.assert_allclose(reduced[3:6, 0, 0], weights[1:8:3], atol=1e-12)
    enlarged = geometry.resize_smooth(np.array([[[0.0]], [[1.0]]]), 4, 1)
    np.testing.assert_allclose(enlarged[:, 0, 0], [0.25, 0.25, 0.75, 0.75], atol=1e-12)
    same = np.full((6, 5, 3), 0.2)
    np.testing.assert_array_equal(geometry.resize_smooth(same, 6, 5), same)


@pytest.mark.parametrize("size", [(5, 14), (12, 6), (3, 4), (9, 7), (20, 1), (1, 28), (10, 2)])
def test_resize_and_its_gradient_equal_jax_image(size):
    x = np.random.default_rng(0).random((2, 10, 7, 3)).astype(np.float32)
    shape = (2, *size, 3)
    cotangent = np.random.default_rng(1).random(shape).astype(np.float32)

    def plain(x):
        return jax.image.resize(x, shape, "bilinear", antialias=False)

    for ours, theirs in zip(
        jax.tree.leaves(pull_back(lambda x: geometry.resize(x, *size), x, cotangent)),
        jax.tree.leaves(pull_back(plain, x, cotangent)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("size", [(19, 28), (20, 29)])
def test_middle_between_pixels_is_the_mean_of_neighbours(size):
    golden = np.load(GOLDENS / "bgmv2_aug.npz")
    middle = geometry.crop_middle(synth.image(28, 36, 3, 2, 5), *size)
    np.testing.assert_allclose(middle, golden["center_crop_{}x{}".format(*size)], atol=2e-6)


def test_middle_at_whole_pixels_is_a_slice():
    x = np.random.default_rng(0).random((1, 8, 9, 2)).astype(np.float32)
    np.testing.assert_array_equal(geometry.crop_middle(x, 4, 3), x[:, 2:6, 3:6])


@pytest.mark.parametrize("name", ["area", "bilinear", "aligned"])
def test_axis_that_keeps_its_size_is_not_resized(name):
    resize = getattr(geometry, f"resize_{name}")
    weights = getattr(geometry, f"{name}_weights")
    x = np.random.default_rng(0).random((2, 7, 9, 3), np.float32)
    np.testing.assert_array_equal(weights(7, 7).toarray(), np.eye(7))
    assert resize(x, 7, 9) is x
    rows = np.einsum("ij,bjwc->biwc", weights(7, 4).toarray(), x)
    columns = np.einsum("ij,bhjc->bhic", weights(9, 12).toarray(), x)
    for array in (x, jnp.asarray(x)):
        np.testing.assert_allclose(resize(array, 4, 9), rows, atol=1e-6)
        np.testing.assert_allclose(resize(array, 7, 12), columns, atol=1e-6)


@pytest.mark.parametrize("size", [(7, 12), (30, 9), (1, 1), (13, 4)])
def test_aligned_resize_equals_pytorch(size):
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((13, 10, 3), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(image).permute(2, 0, 1)[None], size, mode="bilinear", align_corners=True
    )
    ours = geometry.resize_aligned(image, *size)
    np.testing.assert_allclose(ours, expected[0].permute(1, 2, 0), atol=2e-6)
