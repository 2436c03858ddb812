"""Pictures of one photo line up, whatever the sizes at which the network works."""

import numpy as np
import pytest

from matting_jax.evaluation.previews import HEADER, TILE, draw_grid, tile_size


def halves(height, width):
    """Returns a picture [height, width, 3] whose upper left quarter is black, the rest white."""
    picture = np.ones((height, width, 3))
    picture[: height // 2, : width // 2] = 0
    return picture


@pytest.mark.parametrize("photo", [(300, 600), (600, 300), (200, 200)])
def test_pictures_of_other_shapes_get_the_place_and_size_of_their_photo(photo):
    """A network rounds the sides of a photo to multiples of 32, and shows heads of these sides."""
    row = {"photo": halves(*photo), "alpha": halves(96, 160), "semantic": halves(8, 8)}
    grid = draw_grid([row, row])
    width, height = tile_size(*photo)
    assert max(width, height) == TILE and grid.shape == (HEADER + 2 * height, 3 * TILE, 3)
    left = (TILE - width) // 2
    for top in (HEADER, HEADER + height):
        for column in range(3):
            tile = grid[top : top + height, TILE * column + left :][:, :width].mean(-1)
            # Interpolation blurs an edge by up to the width of a pixel of 8.
            margin = TILE // 8
            assert tile[: height // 2 - margin, : width // 2 - margin].max() == 0
            assert tile[height // 2 + margin :].min() == tile[:, width // 2 + margin :].min() == 255


def test_rows_are_as_tall_as_their_photos():
    wide, tall = {"photo": halves(100, 400)}, {"photo": halves(400, 100)}
    assert draw_grid([wide, tall]).shape == (HEADER + TILE // 4 + TILE, TILE, 3)
