"""One walk and one matching of names for all programs."""

import logging
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.files.walk import by_stem, existing, images_below
from matting_jax.prediction.companions import find_companions
from matting_jax.prediction.photos import find_photos

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
HIDDEN = (
    ".hidden/a.png",
    ".thumbnails/a.png",
    "@eaDir/a.png",
    "__MACOSX/a.png",
    "._a.png",
    "Thumbs.db",
    "sub/@eaDir/a.png",
)


@pytest.fixture
def tree(tmp_path):
    """A tree of three photos, one by a link, with loops, hidden folders and thumbnails."""
    root, other = tmp_path / "photos", tmp_path / "elsewhere"
    for place in (root / "a.png", root / "sub/b.png", other / "c.png", *(root / x for x in HIDDEN)):
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(place, "PNG")
    (root / "linked").symlink_to(other)
    (other / "back").symlink_to(root)
    return root


WANTED = ["a.png", "linked/c.png", "sub/b.png"]


def names(paths, root):
    return sorted(path.relative_to(root).as_posix() for path in paths)


def test_tree_is_walked_through_links_once_without_hidden_files(tree, caplog):
    with caplog.at_level(logging.INFO, "matting_jax"):
        assert names(images_below(tree), tree) == WANTED
    assert f"{tree / 'linked' / 'back'} is skipped" in caplog.text


def test_photos_to_predict_are_those_of_the_walk(tree, tmp_path):
    for pattern in (tree, tree / "**" / "*.png"):
        root, found = find_photos(str(pattern), tmp_path / "out")
        assert root == tree and names(found, tree) == WANTED
    assert find_photos(str(tree / ".hidden" / "a.png"), tmp_path / "out")[1]
    assert find_photos(str(tree / ".hidden" / "*.png"), tmp_path / "out")[1]
    assert find_photos(str(tree / ".hidden"), tmp_path / "out")[1]


@pytest.mark.parametrize("ours, theirs", [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_match_in_any_unicode_form(tmp_path, ours, theirs):
    for place in (f"photos/{ours}/{ours}.png", f"trimaps/{theirs}/{theirs}_trimap.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    root, photos = find_photos(str(tmp_path / "photos"), tmp_path / "out")
    found = find_companions(photos, root, "trimap", str(tmp_path / "trimaps"))
    assert [path.name for path in found.values()] == [f"{theirs}_trimap.png"]
    given = tmp_path / "photos" / theirs / f"{theirs}.png"
    assert existing(given).exists() and existing(given).name == f"{ours}.png"
    assert find_photos(str(given), tmp_path / "out")[1] == photos
    pattern = tmp_path / "photos" / theirs / f"{theirs[:3]}*.png"
    assert find_photos(str(pattern), tmp_path / "out")[1] == photos
    assert list(by_stem(tmp_path / "photos" / ours)) == [COMPOSED]
    assert existing(tmp_path / "nowhere" / ours) == tmp_path / "nowhere" / ours


def test_pipes_and_loops_of_links_are_skipped_and_said(tree, tmp_path, caplog):
    os.mkfifo(tree / "pipe.png")
    (tree / "self.png").symlink_to("self.png")
    (tree / "one.png").symlink_to("two.png")
    (tree / "two.png").symlink_to("one.png")
    (tree / "loop").symlink_to("loop")
    (tree / "gone.png").symlink_to("nowhere.png")  # reading it reports that
    with caplog.at_level(logging.INFO, "matting_jax"):
        for pattern in (tree, tree / "**" / "*.png"):
            root, found = find_photos(str(pattern), tree / "out")
            there = [path for path in found if path.name != "gone.png"]
            assert names(there, root) == WANTED
    for name in ("pipe.png", "self.png", "one.png", "two.png"):
        assert f"{tree / name} is skipped" in caplog.text
    assert by_stem(tree).keys() == {"a", "gone"}
    with pytest.raises(FileNotFoundError, match="no photo found"):
        find_photos(str(tree / "self.png"), tmp_path / "out")
