"""Trimaps and backgrounds beside the photos, and trimaps of another network."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.config import load_config
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.models import NETWORKS
from matting_jax.models.network import TrimapRule
from matting_jax.prediction import predict as program
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import ROOT, use_folders
from tests.prediction.results import files
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def trimap_run(folders, compiled_once, tmp_path_factory):
    """The flags of a checkpoint of the tiny network that takes a trimap."""
    config = use_folders(tiny_config(), folders, compiled_once)
    config.name, config.test_time = "tiny_trimap", {}
    folder = tmp_path_factory.mktemp("trimap_weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "t.safetensors", to_state_dict("tiny_trimap", variables))
    claim(folder / "run", config)
    return [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 't.safetensors'}"]


@pytest.fixture
def with_trimaps(trimap_run, tmp_path):
    """(a function that predicts as the command line, a folder of photos, one of trimaps)."""
    names = {"a.jpg": "a.png", "sub/b.png": "sub/b_trimap.png"}
    rng = np.random.default_rng(0)
    for photo, trimap in names.items():
        for place in (tmp_path / "in" / photo, tmp_path / "trimaps" / trimap):
            place.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (40, 34, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / photo)
        codes = rng.choice(np.uint8([0, 128, 255]), (40, 34))
        Image.fromarray(codes).save(tmp_path / "trimaps" / trimap)

    def run(*more):
        flags = [*trimap_run, f"--output={tmp_path / 'out'}", "--foreground=none", *more]
        return main(["launch.py", "--mode=predict", *flags], "")

    return run, tmp_path / "in", tmp_path / "trimaps"


def test_each_photo_takes_the_trimap_with_its_name(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "sub/b_alpha.png"]
    for name, trimap in {"a": "a.png", "sub/b": "sub/b_trimap.png"}.items():
        alpha = np.asarray(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        codes = np.asarray(Image.open(trimaps / trimap))
        for known in (0, 255):
            np.testing.assert_array_equal(alpha[codes == known], known)
        assert np.ptp(alpha[codes == 128]) > 0


def test_trimaps_may_be_among_the_photos(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    (trimaps / "a.png").rename(photos / "a_trimap.png")
    (trimaps / "sub" / "b_trimap.png").rename(photos / "sub" / "b_trimap.png")
    assert run(f"--input={photos}", f"--trimap={photos}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "sub/b_alpha.png"]


def test_one_photo_takes_one_trimap(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    trimap = trimaps / "sub" / "b_trimap.png"
    assert run(f"--input={photos / 'a.jpg'}", f"--trimap={trimap}") == 0
    alpha = np.asarray(Image.open(tmp_path / "out" / "a_alpha.png"))
    np.testing.assert_array_equal(alpha[np.asarray(Image.open(trimap)) == 255], 255)


def test_missing_trimaps_are_all_listed_with_how_to_get_one(with_trimaps, tmp_path, capsys):
    run, photos, trimaps = with_trimaps
    assert run(f"--input={photos}") == 2
    assert "pass --trimap FILE|DIR" in capsys.readouterr().err
    (trimaps / "a.png").unlink()
    (trimaps / "sub" / "b_trimap.png").unlink()
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 2
    message = capsys.readouterr().err
    assert all(words in message for words in ("a.jpg", "sub/b.png", "2 of 2", "grey (128)"))
    assert run(f"--input={photos}", f"--trimap={trimaps / 'c.png'}") == 2
    assert "c.png" in capsys.readouterr().err
    Image.new("L", (34, 40)).save(trimaps / "c.png")
    assert run(f"--input={photos}", f"--trimap={trimaps / 'c.png'}") == 2
    assert "one file for 2 photos" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_trimaps_with_the_same_name_are_rejected(with_trimaps, capsys):
    run, photos, trimaps = with_trimaps
    Image.new("L", (34, 40)).save(trimaps / "a.bmp")
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 2
    message = capsys.readouterr().err
    assert "a.bmp" in message and "a.png" in message and "remove one" in message


def test_trimap_of_another_size_is_reported_and_its_photo_skipped(with_trimaps, tmp_path, capsys):
    run, photos, trimaps = with_trimaps
    Image.new("L", (40, 34)).save(trimaps / "a.png")
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 1
    message = capsys.readouterr().err
    assert "a.png: 40 x 34 pixels" in message and "a.jpg has 34 x 40" in message
    assert files(tmp_path / "out") == ["sub/b_alpha.png"]


def test_trimap_is_rejected_if_the_network_takes_none(predict, photos, capsys):
    assert predict(photos, f"--trimap={photos}") == 2
    assert "tiny takes no trimap: omit --trimap" in capsys.readouterr().err


@pytest.fixture
def with_background(tmp_path, tmp_path_factory, compiled_once):
    """(a function that predicts by subtraction, a folder of photos, one of backgrounds).

    A photo is its background with a square; its alpha is 0 elsewhere.
    """
    config = tiny_config()
    config.name, config.test_time = "tiny_background", {}
    config.compilation_cache = str(compiled_once)
    claim(tmp_path / "run", config)
    gain = {"params": {"gain": np.ones(1, np.float32)}}
    write_state_dict(tmp_path / "t.safetensors", to_state_dict("tiny_background", gain))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        coarse = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        background = np.array(coarse.resize((240, 200), Image.Resampling.NEAREST))
        photo = background.copy()
        photo[60:120, 80:150] = 255 - photo[60:120, 80:150]
        for folder, image in (("in", photo), ("empty", background)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / folder / f"{name}.png")

    def run(*more, foreground="none"):
        flags = [f"--workdir={tmp_path / 'run'}", f"--checkpoint={tmp_path / 't.safetensors'}"]
        flags += [f"--foreground={foreground}"] if foreground else []
        flags += [f"--output={tmp_path / 'out'}", *more]
        return main(["launch.py", "--mode=predict", *flags], "")

    return run, tmp_path / "in", tmp_path / "empty"


def alpha_outside(path):
    """Returns the alpha of a photo of `with_background` where it shows its background."""
    alpha = np.array(Image.open(path)).astype(float)
    alpha[55:125, 75:155] = 0
    return alpha


def test_each_photo_takes_the_background_with_its_name(with_background, tmp_path):
    run, photos, backgrounds = with_background
    assert run(f"--input={photos}", f"--background={backgrounds}") == 0
    for name in "ab":
        assert not alpha_outside(tmp_path / "out" / f"{name}_alpha.png").any()
        assert np.array(Image.open(tmp_path / "out" / f"{name}_alpha.png"))[80, 100] > 0


def test_one_background_serves_all_photos_and_is_not_a_photo(with_background, tmp_path):
    run, photos, backgrounds = with_background
    Image.open(photos / "a.png").save(photos / "second.png")
    (backgrounds / "a.png").rename(photos / "empty.png")
    (photos / "b.png").unlink()
    assert run(f"--input={photos}", f"--background={photos / 'empty.png'}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "second_alpha.png"]
    for name in ("a", "second"):
        assert not alpha_outside(tmp_path / "out" / f"{name}_alpha.png").any()


@pytest.mark.parametrize("more", [[], ["--foreground=network"]])
def test_cut_outs_have_the_foreground_that_the_network_predicts(with_background, tmp_path, more):
    run, photos, backgrounds = with_background
    assert run(f"--input={photos}", f"--background={backgrounds}", *more, foreground=None) == 0
    for name in "ab":
        photo = np.array(Image.open(photos / f"{name}.png"))
        alpha = np.array(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        cutout = np.array(Image.open(tmp_path / "out" / f"{name}_cutout.png"))
        np.testing.assert_array_equal(cutout[..., 3], alpha)
        assert 0 < np.mean(alpha > 0) < 1
        expected = np.where(alpha[..., None] > 0, photo * np.uint8([0, 1, 1]), 0)
        np.testing.assert_array_equal(cutout[..., :3], expected)


def test_foreground_may_be_estimated_although_the_network_predicts_it(with_background, tmp_path):
    run, photos, backgrounds = with_background
    inputs = [f"--input={photos / 'a.png'}", f"--background={backgrounds / 'a.png'}"]
    assert run(*inputs, foreground="multilevel") == 0
    photo = np.array(Image.open(photos / "a.png"))
    alpha = np.array(Image.open(tmp_path / "out" / "a_alpha.png"))
    cutout = np.array(Image.open(tmp_path / "out" / "a_cutout.png"))
    np.testing.assert_array_equal(cutout[..., :3], program.METHODS["multilevel"](photo, alpha))


def test_network_without_foreground_colours_says_what_to_take(predict, photos, matter, capsys):
    assert predict(photos, "--foreground=network") == 2
    message = capsys.readouterr().err
    assert "tiny predicts no foreground colours: pass --foreground multilevel or blur" in message
    with pytest.raises(ValueError, match="tiny predicts no foreground colours"):
        matter.cut_out(np.zeros((32, 32, 3), np.uint8))


def moved(path, angle, x, y, scale=1.0):
    """Returns an image turned about its centre by degrees, scaled and moved by pixels."""
    image = Image.open(path)
    cos, sin = np.cos(np.deg2rad(angle)) / scale, np.sin(np.deg2rad(angle)) / scale
    middle = np.array([image.width / 2, image.height / 2])
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = middle - turn @ (middle + [x, y])
    data = [cos, sin, shift[0], -sin, cos, shift[1]]
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


def test_background_of_a_moved_camera_is_aligned(with_background, tmp_path):
    run, photos, backgrounds = with_background
    moved(backgrounds / "a.png", 2, 5, -4).save(backgrounds / "a.png")
    moved(backgrounds / "b.png", -1, -7, 3).crop((0, 0, 236, 200)).save(backgrounds / "b.png")
    (photos / "b.png").rename(tmp_path / "b.png")
    assert run(f"--input={photos}", f"--background={backgrounds}") == 0
    before = alpha_outside(tmp_path / "out" / "a_alpha.png").mean()
    (tmp_path / "b.png").rename(photos / "b.png")
    # An aligned background may have another size.
    assert run(f"--input={photos}", f"--background={backgrounds}", "--align", "--overwrite") == 0
    for name in "ab":
        assert alpha_outside(tmp_path / "out" / f"{name}_alpha.png").mean() < 0.15 * before


def test_background_that_cannot_be_aligned_is_reported_with_the_matches(with_background, capsys):
    run, photos, backgrounds = with_background
    (backgrounds / "b.png").replace(backgrounds / "a.png")
    Image.new("RGB", (240, 200), "grey").save(backgrounds / "b.png")
    assert run(f"--input={photos}", f"--background={backgrounds}", "--align") == 1
    other, grey = capsys.readouterr().err.strip().splitlines()[-2:]
    assert "empty/a.png cannot be aligned with" in other and "in/a.png: " in other
    assert "matching features agree on one homography, expected at least 30" in other
    assert "in/b.png: only 0 features match" in grey


def test_background_that_does_not_fit_is_reported(with_background, photos, predict, capsys):
    run, own, backgrounds = with_background
    assert run(f"--input={own}") == 2
    assert (
        "needs a background for each photo: pass --background FILE|DIR, a photo of"
        in capsys.readouterr().err
    )
    (backgrounds / "b.png").unlink()
    assert run(f"--input={own}", f"--background={backgrounds}") == 2
    assert "has none for 1 of 2 photos" in capsys.readouterr().err
    small = backgrounds / "small.png"
    Image.new("RGB", (24, 20)).save(small)
    assert run(f"--input={own}", f"--background={small}") == 1
    assert "small.png: 24 x 20 pixels, but" in capsys.readouterr().err
    assert predict(photos, f"--background={small}") == 2
    assert "tiny takes no background: omit --background" in capsys.readouterr().err
    assert predict(photos, "--align") == 2
    assert "tiny takes no background: omit --align" in capsys.readouterr().err


@pytest.fixture
def chained(with_trimaps, finished, monkeypatch):
    """(a function that predicts with trimaps of the finished run, its workdir, the photos)."""
    rule = TrimapRule("alpha", 0.52, 0.0, {"alpha": (0,)})
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], trimap=rule))
    run, photos, _ = with_trimaps
    return (lambda *more: run(f"--input={photos}", *more)), finished[0], photos


def test_chain_predicts_the_same_as_in_the_library(chained, trimap_run, tmp_path):
    run, workdir, photos = chained
    rule = {"sure": 0.51, "margin": 0.02}
    flags = [f"--trimap_{field}={value}" for field, value in rule.items()]
    assert run(f"--trimap_from={workdir}", *flags) == 0
    first = mj.Matter("tiny", mj.load_checkpoint("tiny", workdir), test_time={"reference_size": 32})
    variables = mj.load_checkpoint("tiny_trimap", trimap_run[1].partition("=")[2])
    both = mj.Matter("tiny_trimap", variables, trimap_from=first, trimap_rule=rule)
    for name in ("a.jpg", "sub/b.png"):
        photo = np.asarray(Image.open(photos / name))
        alpha = np.asarray(
            Image.open((tmp_path / "out" / name).with_suffix("").with_name(f"{name[-5]}_alpha.png"))
        )
        np.testing.assert_array_equal(alpha, np.rint(255 * both(photo)))
    unlike = mj.Matter("tiny_trimap", variables, trimap_from=first)
    assert not np.array_equal(unlike(photo), both(photo))


def test_wrong_chain_is_rejected_in_one_line(
    chained, predict, photos, trimap_run, tmp_path, capsys
):
    run, workdir, _ = chained
    config = load_config(ROOT / "configs" / "gca.py", "")
    claim(tmp_path / "gca", config)
    config = load_config(ROOT / "configs" / "bisenet_v2.py", "cityscapes")
    claim(tmp_path / "streets", config)
    second = trimap_run[0].partition("=")[2]
    for flags, words in {
        (f"--trimap_from={workdir}", f"--trimap={photos}"): "one of --trimap and --trimap_from",
        (f"--trimap_from={tmp_path / 'gca'}",): "gca makes no trimap: take a network",
        (f"--trimap_from={second}",): "tiny_trimap makes no trimap",
        (f"--trimap_from={tmp_path / 'streets'}",): "predicts other classes than those of a trimap",
        (f"--trimap_from={tmp_path}",): "is not a workdir",
        (f"--trimap_from={workdir}", "--trimap_head=semantic"): "head of tiny that makes a trimap",
        (f"--trimap_from={workdir}", "--trimap_sure=0.2"): "sure must be from 0.5 to 1",
        ("--trimap_margin=0.1",): "--trimap_margin is for --trimap_from WORKDIR",
    }.items():
        assert run(*flags) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert predict(photos, f"--trimap_from={workdir}") == 2
    assert "tiny takes no trimap: omit --trimap_from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
