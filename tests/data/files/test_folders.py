import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.files import checks
from matting_jax.data.files.folders import accept, find_backgrounds, find_foregrounds, find_pairs


def damage(photos):
    """Adds one fault of each kind; the pairs a, b and c remain."""
    (photos / "image" / "d.png").unlink()
    (photos / "alpha" / "e.png").unlink()
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8))
    for name in ("truncated", "small", "empty", "twice"):
        pixels.save(photos / "image" / f"{name}.jpg")
        pixels.convert("L").save(photos / "alpha" / f"{name}.png")
    whole = (photos / "image" / "truncated.jpg").read_bytes()
    (photos / "image" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    pixels.convert("L").resize((30, 60)).save(photos / "alpha" / "small.png")
    (photos / "alpha" / "empty.png").write_bytes(b"")
    pixels.save(photos / "image" / "twice.png")


def test_pairs_share_their_stem(photos, tmp_path):
    (photos / "image" / "a.png").rename(photos / "image" / "a.PNG")
    Image.open(photos / "image" / "b.png").save(photos / "image" / "b.jpg")
    (photos / "image" / "b.png").unlink()
    (photos / "image" / ".hidden.png").touch()
    (photos / "image" / "Thumbs.db").touch()
    found = find_pairs(photos, "field", tmp_path, 2)
    assert not found.faults
    assert [(p.image.name, p.alpha.name) for p in found.items] == [
        ("a.PNG", "a.png"),
        ("b.jpg", "b.png"),
        ("c.png", "c.png"),
        ("d.png", "d.png"),
        ("e.png", "e.png"),
    ]


def test_size_of_a_photo_follows_its_exif_orientation(photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    image = Image.open(photos / "image" / "a.png")
    image.transpose(Image.Transpose.ROTATE_90).save(photos / "image" / "a.png", exif=exif)
    assert not find_pairs(photos, "field", tmp_path, 2).faults


def test_one_error_lists_every_fault(photos, backgrounds, tmp_path):
    damage(photos)
    (backgrounds / "city" / "broken.jpg").write_text("no image")
    found = [
        find_foregrounds(photos, "config.data.train.foregrounds", tmp_path, 2),
        find_backgrounds(backgrounds, "config.data.train.backgrounds", tmp_path, 2),
    ]
    with pytest.raises(ValueError) as error:
        accept(found, skip_bad=False)
    text = str(error.value)
    for part in (
        "7 faults",
        "config.data.train.foregrounds",
        "config.data.train.backgrounds",
        "config.data.skip_bad",
        f"{photos / 'alpha' / 'd.png'}: no file d.*",
        f"{photos / 'image' / 'e.png'}: no file e.*",
        str(photos / "image" / "truncated.jpg"),
        "60 x 60 pixels, but its alpha has 30 x 60",
        f"{photos / 'alpha' / 'empty.png'}: the file is empty",
        f"{photos / 'image' / 'twice.png'}: 2 files",
        str(backgrounds / "city" / "broken.jpg"),
    ):
        assert part in text


def test_skip_bad_skips_faulty_pairs_and_logs_their_number(photos, tmp_path, caplog):
    damage(photos)
    found = find_pairs(photos, "field", tmp_path, 2)
    with caplog.at_level(logging.WARNING, "matting_jax"):
        accept([found], skip_bad=True)
    assert [pair.image.stem for pair in found.items] == ["a", "b", "c"]
    assert "6 faults" in caplog.text and "3 remain" in caplog.text


def test_skip_bad_raises_if_no_file_remains(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.png").touch()
    with pytest.raises(ValueError, match="field: no file in .*bad can be used"):
        accept([find_backgrounds(tmp_path / "bad", "field", tmp_path, 2)], skip_bad=True)


def test_error_is_not_shortened_for_many_faults(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(25):
        (folder / f"{i:02d}.png").touch()
    with pytest.raises(ValueError, match="25 faults") as error:
        accept([find_backgrounds(folder, "field", tmp_path, 2)], skip_bad=False)
    assert all(f"{i:02d}.png" in str(error.value) for i in range(25))


def test_folder_of_cut_outs(tmp_path):
    folder = tmp_path / "cuts"
    folder.mkdir()
    Image.new("RGBA", (5, 5)).save(folder / "good.png")
    Image.new("RGB", (5, 5)).save(folder / "opaque.png")
    found = find_foregrounds(folder, "field", tmp_path, 2)
    assert [(pair.image.name, pair.alpha) for pair in found.items] == [("good.png", None)]
    assert found.faults == [f"{folder / 'opaque.png'}: no alpha channel"]


def test_backgrounds_are_found_in_a_tree_and_through_links(backgrounds, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "there").symlink_to(backgrounds)
    found = find_backgrounds(tmp_path / "linked", "field", tmp_path, 2)
    assert [path.name for path in found.items] == ["0.png", "1.png", "2.png"]


def test_circular_links_give_each_background_once(backgrounds, tmp_path):
    (backgrounds / "city" / "again").symlink_to(backgrounds)
    found = find_backgrounds(backgrounds, "field", tmp_path, 2)
    assert [path.name for path in found.items] == ["0.png", "1.png", "2.png"]


def test_stems_match_in_any_unicode_normalisation(photos, tmp_path):
    (photos / "image" / "a.png").rename(photos / "image" / "caf\u00e9 1.b.PNG")
    (photos / "alpha" / "a.png").rename(photos / "alpha" / "cafe\u0301 1.b.png")
    found = find_pairs(photos, "field", tmp_path, 2)
    assert not found.faults and len(found.items) == 5


@pytest.mark.parametrize("find", [find_pairs, find_foregrounds, find_backgrounds])
def test_error_for_a_missing_or_empty_folder_contains_the_config_field(find, tmp_path):
    with pytest.raises(ValueError, match="config.data.x: there is no folder .*nowhere"):
        find(tmp_path / "nowhere", "config.data.x", tmp_path, 2)
    folder = tmp_path / "nothing"
    for part in ("image", "alpha"):
        (folder / part).mkdir(parents=True)
    with pytest.raises(ValueError, match="config.data.x: .*nothing.* has no image"):
        find(folder, "config.data.x", tmp_path, 2)


def test_error_for_a_folder_without_alphas_contains_the_config_field(photos, tmp_path):
    shutil.rmtree(photos / "alpha")
    with pytest.raises(ValueError, match="config.data.x: there is no folder .*alpha"):
        find_foregrounds(photos, "config.data.x", tmp_path, 2)


def test_files_are_checked_once(photos, tmp_path, monkeypatch):
    read = []
    original = checks.read_header
    monkeypatch.setattr(checks, "read_header", lambda path: read.append(path) or original(path))
    first = find_pairs(photos, "field", tmp_path / "cache", 2)
    assert len(read) == 10
    assert find_pairs(photos, "field", tmp_path / "cache", 2) == first
    assert len(read) == 10
    (photos / "image" / "c.png").write_bytes(b"")
    assert len(find_pairs(photos, "field", tmp_path / "cache", 2).faults) == 1
    assert read[10:] == [photos / "image" / "c.png"]
