"""What the files of photos and trimaps say, from the command line to the results."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from matting_jax.commandline import main
from matting_jax.evaluation import evaluate as evaluation
from matting_jax.prediction import predict as program
from tests.helpers import CONFIGS, ROOT, save_image, soft_disc

CASES = ROOT / "tests" / "cases"


class Stub:
    """A matter whose alpha is that of the trimap, or 1, and that keeps the photos it gets."""

    name = "stub"

    def __init__(self, *needs):
        self.needs, self.photos = needs, []

    def __call__(self, photo, trimap=None, **_):
        self.photos.append(photo)
        full = np.full(photo.shape[:2], 255, np.uint8) if trimap is None else trimap
        return np.divide(full, 255, dtype=np.float32)

    def list_programs(self, height, width, cut_out=False):
        return []


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs --mode predict with a stub; returns the exit code and the stub."""

    def predict(photos, *flags, network="modnet", needs=()):
        stub = Stub(*needs)
        monkeypatch.setattr(program, "load_matter", lambda *_, **__: stub)
        names = [f"--config={CONFIGS / network}.py:official", "--checkpoint=none"]
        places = [f"--input={photos}", f"--output={tmp_path / 'out'}", "--overwrite"]
        command = ["launch.py", "--mode=predict", *names, *places, *flags]
        return main([*command, "--config.compilation_cache="], ""), stub

    return predict


def saved(tmp_path, name):
    with Image.open(tmp_path / "out" / f"{name}.png") as image:
        assert "icc_profile" not in image.info
        return np.asarray(image).astype(int)


def test_cut_outs_hold_srgb(run, tmp_path):
    folder = CASES / "colour_profile" / "photos"
    code, stub = run(folder)
    assert code == 0
    with Image.open(folder / "adobe.png") as image:
        profile = ImageCms.getOpenProfile(io.BytesIO(image.info["icc_profile"]))
        srgb = ImageCms.createProfile("sRGB")
        expected = np.asarray(ImageCms.profileToProfile(image, profile, srgb)).astype(int)
        own = np.asarray(image)
    assert np.abs(stub.photos[0].astype(int) - expected).max() <= 2
    assert np.abs(saved(tmp_path, "adobe_cutout")[..., :3] - expected).max() <= 2
    _, stub = run(folder, "--config.data.colour_profile=ignore")
    np.testing.assert_array_equal(stub.photos[0], own)


def test_erased_pixels_of_a_photo_stay_erased_and_unseen(run, tmp_path):
    photos = CASES / "transparent_photo" / "photos"
    code, stub = run(photos)
    assert code == 0
    with Image.open(photos / "a.png") as image:
        opacity = np.asarray(image)[..., 3]
    assert (stub.photos[0][opacity == 0] == 128).all()
    assert (saved(tmp_path, "a_alpha") == opacity).all()
    assert (saved(tmp_path, "a_cutout")[..., 3] == opacity).all()


def test_soft_transparency_of_a_photo_multiplies_alpha(run, tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (8, 9, 4), np.uint8)
    trimap = np.full((8, 9), 128, np.uint8)
    trimap[:, 3:] = 255
    save_image(rgba, tmp_path, "photos", "a.png")
    save_image(trimap, tmp_path, "trimaps", "a.png")
    flags = [f"--trimap={tmp_path / 'trimaps'}", "--foreground=none", "--bits=16"]
    code, _ = run(tmp_path / "photos", *flags, network="gca", needs=["trimap"])
    assert code == 0
    expected = 257 * (trimap / 255) * rgba[..., 3]
    assert np.abs(saved(tmp_path, "a_alpha") - expected).max() <= 1


@pytest.mark.parametrize("trimaps", ["codes_0_1_2", "all_black"])
def test_trimap_that_cannot_be_meant_gives_no_alpha(run, tmp_path, capsys, trimaps):
    folder = CASES / "trimap_codes"
    flag = f"--trimap={folder / trimaps}"
    code, _ = run(folder / "photos", flag, network="gca", needs=["trimap"])
    assert code == 1 and not list((tmp_path / "out").glob("*.png"))
    assert f"{folder / trimaps / 'a.png'}: its" in capsys.readouterr().err


def test_trimap_without_unknown_pixels_is_reported_and_used(run, tmp_path, caplog):
    save_image(np.zeros((8, 9, 3), np.uint8), tmp_path, "photos", "a.png")
    trimap = np.zeros((8, 9), np.uint8)
    trimap[:, 3:] = 255
    save_image(trimap, tmp_path, "trimaps", "a.png")
    flag = f"--trimap={tmp_path / 'trimaps'}"
    assert run(tmp_path / "photos", flag, network="gca", needs=["trimap"])[0] == 0
    assert "a.png: its trimap has no unknown pixel" in caplog.text
    assert (saved(tmp_path, "a_alpha") == trimap).all()


def test_photo_of_which_nothing_is_visible_is_reported(run, tmp_path, capsys):
    rgba = np.random.default_rng(0).integers(0, 256, (8, 9, 4), np.uint8)
    save_image(rgba[..., :3], tmp_path, "photos", "seen.png")
    rgba[..., 3] = 0  # as some programs write it for all pixels
    save_image(rgba, tmp_path, "photos", "erased.png")
    code, stub = run(tmp_path / "photos")
    assert code == 1 and len(stub.photos) == 1
    assert "erased.png: its transparency is at most 0 of 255" in capsys.readouterr().err


def test_photo_whose_results_have_too_long_names_is_reported_and_others_go_on(
    run, tmp_path, capsys
):
    for name in ("n" * 245, "short"):
        save_image(np.zeros((8, 9, 3), np.uint8), tmp_path, "photos", f"{name}.png")
    code, _ = run(tmp_path / "photos")
    assert code == 1 and sorted(x.name for x in (tmp_path / "out").glob("*.png")) == [
        "short_alpha.png",
        "short_cutout.png",
    ]
    error = capsys.readouterr().err
    assert f"{'n' * 245}.png: the name of one would have 256 bytes" in error
    assert error.count("\n") == 1


def evaluate(tmp_path, *flags):
    command = ["launch.py", "--mode=evaluate", f"--output={tmp_path / 'scores'}", "--overwrite"]
    return main([*command, *map(str, flags)], "")


def test_opaque_cut_outs_are_scored_by_their_alpha_channel(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    white = np.full((20, 30), 255, np.uint8)
    save_image(np.dstack([rgb, white]), tmp_path, "predictions", "a.png")
    save_image(white, tmp_path, "truths", "a.png")
    flags = [f"--{part}={tmp_path / part}" for part in ("predictions", "truths")]
    assert evaluate(tmp_path, *flags) == 0
    row = (tmp_path / "scores" / "scores.csv").read_text().splitlines()[1].split(",")
    assert float(row[1]) == 0


def test_evaluation_multiplies_alpha_by_the_transparency_of_the_photo(tmp_path, monkeypatch):
    opacity = soft_disc(20, 30)
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    save_image(np.dstack([rgb, opacity]), tmp_path, "photos", "a.png")
    save_image(opacity, tmp_path, "truths", "a.png")
    monkeypatch.setattr(evaluation, "load_matter", lambda *_, **__: Stub())
    names = [f"--config={CONFIGS / 'modnet'}.py:official", "--checkpoint=none", "--save"]
    folders = [f"--{part}={tmp_path / part}" for part in ("photos", "truths")]
    assert evaluate(tmp_path, *names, *folders, "--config.compilation_cache=") == 0
    with Image.open(tmp_path / "scores" / "alphas" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), opacity)
