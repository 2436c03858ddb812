import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from matting_jax.data.files.trimaps import from_alpha, read_trimap


@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (1, 9), (7, 5), (12, 11)]),
    st.sampled_from([0, 0.5, 1, 1.5, 2, 3, 5, 30]),
    st.floats(0, 1),
)
def test_known_pixels_are_equal_to_all_pixels_within_the_distance(seed, shape, distance, share):
    """Compares with a search of all pixels: Euclidean, the distance itself included."""
    rng = np.random.default_rng(seed)
    alpha = np.where(rng.random(shape) < share, 255, 0).astype(np.uint8)
    alpha[rng.random(shape) < 0.03] = 77
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    trimap = from_alpha(alpha, distance)
    assert trimap.dtype == np.uint8
    for row in range(shape[0]):
        for column in range(shape[1]):
            near = alpha[np.hypot(rows - row, columns - column) <= distance]
            known = 255 if (near == 255).all() else 0 if (near == 0).all() else 128
            assert trimap[row, column] == known


@pytest.mark.parametrize("value, known", [(0, 0), (255, 255), (254, 128), (1, 128)])
def test_constant_alpha_gives_a_constant_trimap(value, known):
    assert (from_alpha(np.full((9, 8), value, np.uint8), 3) == known).all()


def test_grey_values_of_a_file_are_quantised_to_three(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "t.png")
    trimap = read_trimap(tmp_path / "t.png").ravel()
    assert trimap.dtype == np.uint8
    assert (
        (trimap[:85] == 0).all() and (trimap[85:170] == 128).all() and (trimap[170:] == 255).all()
    )
    (tmp_path / "t.png").write_bytes(b"")
    with pytest.raises(ValueError, match="t.png: the file is empty"):
        read_trimap(tmp_path / "t.png")
