"""Which photos are found, where results go, and what is refused before the first photo."""

import pytest
from PIL import Image

from matting_jax.commandline import main
from tests.prediction.results import SIZES, contents, files


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_output_that_is_a_file_is_rejected_before_the_first_photo(
    predict, photos, tmp_path, capsys, inside
):
    (tmp_path / "out").write_text("mine")
    assert predict(photos, f"--output={tmp_path / 'out' / inside}") == 2
    assert (tmp_path / "out").read_text() == "mine"
    error = capsys.readouterr().err
    assert "--output" in error and "cannot be a folder" in error and error.count("\n") == 1


def test_photos_below_the_output_folder_are_predicted(predict, photos, tmp_path):
    photos.rename(tmp_path / "photos of today")
    (tmp_path / "out").mkdir()
    (tmp_path / "photos of today").rename(tmp_path / "out" / "today")
    assert predict(tmp_path / "out" / "today" / "photo.jpg", "--foreground=none") == 0
    assert (tmp_path / "out" / "photo_alpha.png").is_file()


def test_results_among_the_photos_are_recognised_by_any_spelling_of_the_folder(
    predict, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (photos / "broken.jpg").unlink()
    more = ["--foreground=none", f"--output={photos}", "--overwrite"]
    assert predict("photos", *more) == 0
    first = files(photos)
    assert predict("photos", *more) == 0
    assert files(photos) == first


def test_glob_keeps_folders_below_the_common_one(predict, photos, tmp_path):
    assert predict(photos / "**" / "*a*.[pg][ni][gf]", "--foreground=none") == 0
    assert files(tmp_path / "out") == ["deep/palette_alpha.png", "rgba_alpha.png"]


@pytest.mark.parametrize(
    "flags, existing",
    [([], "photo_cutout.png"), ([], "photo_alpha.png"), (["--foreground=none"], "photo_alpha.png")],
)
def test_results_are_replaced_only_with_overwrite(
    predict, photos, tmp_path, capsys, flags, existing
):
    out = tmp_path / "out"
    out.mkdir()
    (out / existing).write_bytes(b"mine")
    assert predict(photos, *flags) == 2
    assert files(out) == [existing] and (out / existing).read_bytes() == b"mine"
    error = capsys.readouterr().err
    assert "--overwrite" in error and existing in error and error.count("\n") == 1
    assert predict(photos / "photo.jpg", *flags, "--overwrite") == 0
    with Image.open(out / existing) as image:
        assert image.size == SIZES["photo"]


def test_existing_results_are_unchanged_after_an_error(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    assert predict(photos, "--foreground=none") == 0
    before = contents(tmp_path / "out")
    assert predict(photos, "--foreground=none") == 2
    assert contents(tmp_path / "out") == before


def test_photos_with_the_same_name_are_rejected(predict, photos, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(photos / "photo.png")
    assert predict(photos) == 2
    error = capsys.readouterr().err
    assert "photo.jpg" in error and "photo.png" in error and "rename" in error
    assert not (tmp_path / "out").exists()


def test_existing_cut_out_is_ignored_if_none_is_made(predict, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo_cutout.png").write_bytes(b"mine")
    assert predict(photos / "photo.jpg", "--foreground=none") == 0
    assert (tmp_path / "out" / "photo_cutout.png").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["missing.png", "nothing/*.png", "sub/deep/*.jpg"])
def test_input_without_a_photo_is_rejected_in_one_line(predict, photos, tmp_path, capsys, name):
    assert predict(photos / name) == 2
    error = capsys.readouterr().err
    assert "no photo found" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_without_a_photo_is_rejected(predict, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "no photo found" in capsys.readouterr().err
    (tmp_path / "empty" / "a.mp4").touch()
    assert predict(tmp_path / "empty") == 2
    assert "only clips: give one of them, such as" in capsys.readouterr().err


def test_hidden_files_and_documents_are_not_photos(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    (photos / "._photo.jpg").write_bytes(b"left by another system")
    (photos / "manual.pdf").write_bytes(b"%PDF-1.4")
    assert predict(photos, "--foreground=none") == 0


def test_results_inside_the_input_folder_are_not_photos(weights, photos):
    (photos / "broken.jpg").unlink()
    checkpoint, workdir = weights
    arguments = [
        "launch.py",
        "--mode=predict",
        f"--workdir={workdir}",
        "--foreground=none",
        f"--checkpoint={checkpoint}",
        f"--input={photos}",
    ]
    arguments.append(f"--output={photos / 'out'}")
    assert main(arguments, "") == 0
    first = files(photos / "out")
    assert main([*arguments, "--overwrite"], "") == 0
    assert files(photos / "out") == first


@pytest.mark.parametrize("missing", ["--input", "--output"])
def test_missing_flags_are_reported(weights, tmp_path, capsys, missing):
    given = [f for f in (f"--input={tmp_path}", f"--output={tmp_path}") if missing not in f]
    assert main(["launch.py", "--mode=predict", f"--workdir={weights[1]}", *given], "") == 2
    assert missing in capsys.readouterr().err


def test_output_with_the_name_of_an_image_is_rejected(predict, photos, tmp_path, capsys):
    assert predict(photos / "photo.jpg", f"--output={tmp_path / 'me.png'}") == 2
    assert f"such as {tmp_path / 'me'}" in capsys.readouterr().err
    assert not (tmp_path / "me.png").exists()
