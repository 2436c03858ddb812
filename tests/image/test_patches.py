"""Cropping and replacing windows of images."""

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.image.patches import cut, put

RNG = np.random.default_rng(0)


def test_windows_are_cropped_from_each_image():
    x = RNG.random((2, 9, 8, 3)).astype(np.float32)
    rows, columns = np.array([[0, 5, 2], [1, 4, 0]]), np.array([[4, 0, 3], [1, 2, 4]])
    windows = cut(x, rows, columns, 4)
    for number, window in enumerate(windows):
        sample, i = divmod(number, 3)
        row, column = rows[sample, i], columns[sample, i]
        np.testing.assert_array_equal(window, x[sample, row : row + 4, column : column + 4])


def test_only_valid_cells_are_replaced_and_have_gradients():
    x = RNG.random((2, 6, 8, 3)).astype(np.float32)
    cells = np.array([[0, 7, 11], [5, 2, 9]])
    valid = np.array([[1, 0, 1], [1, 1, 0]], np.float32)
    patches = RNG.random((6, 2, 2, 3)).astype(np.float32)
    result, gradient = jax.vjp(lambda x, patches: put(x, cells, patches, valid), x, patches)
    expected, kept = x.copy(), np.ones_like(x)
    for number, patch in enumerate(patches):
        sample, i = divmod(number, 3)
        if valid[sample, i]:
            row, column = 2 * (cells[sample, i] // 4), 2 * (cells[sample, i] % 4)
            expected[sample, row : row + 2, column : column + 2] = patch
            kept[sample, row : row + 2, column : column + 2] = 0
    np.testing.assert_array_equal(result, expected)
    dx, dpatches = gradient(jnp.ones_like(x))
    np.testing.assert_array_equal(dx, kept)
    np.testing.assert_array_equal(dpatches[:, 0, 0, 0], valid.reshape(-1))
