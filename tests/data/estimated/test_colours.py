import os

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.estimated import colours
from matting_jax.data.files.folders import find_pairs
from matting_jax.data.files.images import read_alpha, read_image, read_rgba
from matting_jax.image.foreground import multilevel


@pytest.fixture
def pairs(photos, tmp_path):
    return find_pairs(photos, "field", tmp_path / "cache", 2).items


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix == ".png"]


def test_estimation_removes_the_old_background_from_the_soft_edge(pairs):
    image, alpha = read_image(pairs[0].image), read_alpha(pairs[0].alpha)
    soft = (alpha > 30) & (alpha < 225)
    estimated = multilevel(image, alpha)
    assert image[soft][:, 0].mean() > 100
    assert estimated[soft][:, 0].mean() < 12
    np.testing.assert_array_equal(estimated[alpha == 255], image[alpha == 255])


def test_cut_outs_of_several_processes_keep_order_and_alpha(pairs, tmp_path):
    pairs[1].alpha.write_bytes(b"")
    Image.new("L", (60, 40), 200).save(pairs[1].alpha)
    cuts = colours.cut_out(pairs[:3], tmp_path / "cache", 2)
    for pair, cut in zip(pairs, cuts, strict=False):
        np.testing.assert_array_equal(read_rgba(cut)[..., 3], read_alpha(pair.alpha))


def test_cache_is_used_until_a_file_changes(pairs, tmp_path, monkeypatch):
    made = []
    original = colours.write_cutout
    monkeypatch.setattr(
        colours, "write_cutout", lambda *job: made.append(job[0].stem) or original(*job)
    )
    first = colours.cut_out(pairs[:2], tmp_path / "cache", 1)
    assert colours.cut_out(pairs[:2], tmp_path / "cache", 1) == first
    assert made == ["a", "b"]
    os.utime(pairs[1].alpha, ns=(1, 1))
    second = colours.cut_out(pairs[:2], tmp_path / "cache", 1)
    assert made == ["a", "b", "b"]
    assert second[0] == first[0] and second[1] != first[1]


def test_interrupted_writing_leaves_no_file(pairs, tmp_path, monkeypatch):
    def interrupted(self, file, **options):
        file.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            colours.cut_out(pairs[:1], tmp_path / "cache", 1)
    assert not files(tmp_path / "cache")
    (cut,) = colours.cut_out(pairs[:1], tmp_path / "cache", 1)
    assert files(tmp_path / "cache") == [cut]
    assert read_rgba(cut).shape == (40, 60, 4)
