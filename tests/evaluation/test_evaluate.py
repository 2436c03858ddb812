import csv
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.evaluation import evaluate as program
from matting_jax.evaluation.evaluate import Options, evaluate
from matting_jax.evaluation.scores import mean_scores, score
from matting_jax.models import NETWORKS
from matting_jax.models.network import TrimapRule
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import Quarter

SIZES = {"one": (10, 20, 0), "two": (30, 5, 51), "three": (8, 8, 255)}  # height, width, truth


@pytest.fixture
def constants(config, tmp_path, monkeypatch):
    """A config whose test photos have constant mattes, and a network that predicts 0.25."""
    for name, (height, width, value) in SIZES.items():
        for part, array in (
            ("image", np.zeros((height, width, 3))),
            ("alpha", np.full((height, width), value)),
        ):
            (tmp_path / "photos" / part).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "photos" / part / f"{name}.png"
            Image.fromarray(array.astype(np.uint8)).save(path)
    config.data.test.images = str(tmp_path / "photos")
    monkeypatch.setattr(program, "load_matter", Quarter)
    return config


def table(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("name"): {key: float(x) for key, x in row.items()} for row in rows}


def test_table_and_means_equal_scores_by_hand(constants, tmp_path, capsys):
    means = evaluate(constants, tmp_path / "run")
    rows = table(tmp_path / "run" / "evaluation" / "best" / "scores.csv")
    assert sorted(rows) == ["mean", "one", "three", "two"]
    assert [*rows["mean"]] == ["sad", "mse", "mad", "grad", "conn"]
    errors = {name: abs(0.25 - value / 255) for name, (_, _, value) in SIZES.items()}
    for name, (height, width, _) in SIZES.items():
        assert rows[name]["sad"] == pytest.approx(errors[name] * height * width / 1000, rel=1e-6)
        assert rows[name]["mse"] == pytest.approx(errors[name] ** 2, rel=1e-6)
        assert rows[name]["mad"] == pytest.approx(errors[name], rel=1e-6)
        assert rows[name]["grad"] == 0
    for key in ("sad", "mse", "mad"):
        mean = sum(rows[name][key] for name in SIZES) / 3
        assert rows["mean"][key] == pytest.approx(mean, rel=1e-6)
        assert means[key] == pytest.approx(mean, rel=1e-6)
    text = capsys.readouterr().out
    assert "3 images" in text and f"{means['mad']:.4f}" in text and "scores.csv" in text
    assert not (tmp_path / "run" / "evaluation" / "best" / "alphas").exists()


def test_network_without_test_data_is_told_all_ways_to_name_them(constants, tmp_path):
    constants.data.test.images = constants.data.test.dataset = ""
    words = "--photos DIR and --truths DIR.*--config.data.test.images"
    with pytest.raises(ValueError, match=words):
        evaluate(constants, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_alphas_are_saved_with_save(constants, tmp_path):
    evaluate(constants, tmp_path / "run", output=str(tmp_path / "out"), options=Options(save=True))
    assert not (tmp_path / "run").exists()
    folder = tmp_path / "out" / "alphas"
    assert sorted(path.name for path in folder.iterdir()) == ["one.png", "three.png", "two.png"]
    for name, (height, width, _) in SIZES.items():
        alpha = np.asarray(Image.open(folder / f"{name}.png"))
        np.testing.assert_array_equal(alpha, np.full((height, width), 64, np.uint8))


def test_results_are_replaced_atomically_and_only_with_overwrite(constants, tmp_path):
    folder = tmp_path / "run" / "evaluation" / "best"
    (folder / "alphas").mkdir(parents=True)
    (folder / "scores.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        evaluate(constants, tmp_path / "run")
    assert (folder / "scores.csv").read_text() == "mine" and len(list(folder.iterdir())) == 2
    evaluate(constants, tmp_path / "run", options=Options(overwrite=True))
    assert "mean" in table(folder / "scores.csv")
    assert sorted(x.name for x in folder.iterdir()) == ["index.html", "scores.csv", "tiles"]
    assert [x.name for x in folder.parent.iterdir()] == ["best"]


def test_other_files_are_never_replaced(constants, tmp_path):
    folder = tmp_path / "run" / "evaluation" / "best"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes.txt.*--output"):
        evaluate(constants, tmp_path / "run", options=Options(overwrite=True))
    assert [x.name for x in folder.iterdir()] == ["notes.txt"]


def test_results_of_a_checkpoint_have_its_name(constants, tmp_path):
    evaluate(constants, tmp_path / "run", "weights/official.ckpt")
    assert (tmp_path / "run" / "evaluation" / "official" / "scores.csv").is_file()


def test_scores_of_an_exact_matte_are_zero():
    truth = np.arange(256, dtype=np.uint8).reshape(16, 16)
    row = score("x", truth / np.float32(255), truth / np.float32(255))
    assert row == {"name": "x", "sad": 0, "mse": 0, "mad": 0}
    assert mean_scores([row, row | {"mad": 1.0}]) == {"sad": 0, "mse": 0, "mad": 0.5}


def test_evaluation_of_a_workdir_gives_the_score_of_its_best_checkpoint(finished, capsys):
    workdir = finished[0]
    assert main(["launch.py", "--mode=evaluate", f"--workdir={workdir}", "--overwrite"], "") == 0
    lines = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    best = min(line["test_mad"] for line in lines if line["step"] and "test_mad" in line)
    rows = table(workdir / "evaluation" / "best" / "scores.csv")
    assert sorted(rows) == ["a", "b", "c", "mean"]
    assert rows["mean"]["mad"] == pytest.approx(best, rel=1e-5)
    assert f"MAD {best:.4f}" in capsys.readouterr().out


@pytest.fixture
def trimap_folders(config, tmp_path):
    """A function that evaluates the tiny network with trimaps on folders, as the command line."""
    config.name, config.test_time = "tiny_trimap", {}
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(tmp_path / "t.safetensors", to_state_dict("tiny_trimap", variables))
    claim(tmp_path / "run", config)
    rng = np.random.default_rng(0)
    arrays = {
        "photos": lambda: rng.integers(0, 256, (40, 34, 3), np.uint8),
        "truths": lambda: rng.integers(0, 256, (40, 34), np.uint8),
        "trimaps": lambda: rng.choice(np.uint8([0, 128, 255]), (40, 34)),
    }
    for part, draw in arrays.items():
        (tmp_path / part).mkdir()
        for name in "ab":
            Image.fromarray(draw()).save(tmp_path / part / f"{name}.png")

    def run(*parts):
        flags = [f"--workdir={tmp_path / 'run'}", f"--checkpoint={tmp_path / 't.safetensors'}"]
        flags += [f"--{part}={tmp_path / part}" for part in parts]
        return main(["launch.py", "--mode=evaluate", "--save", *flags, *run.more], "")

    run.more = []
    return run


def test_network_is_scored_on_folders_of_photos_truths_and_trimaps(trimap_folders, tmp_path):
    assert trimap_folders("photos", "truths", "trimaps") == 0
    folder = tmp_path / "run" / "evaluation" / "t"
    rows = table(folder / "scores.csv")
    assert sorted(rows) == ["a", "b", "mean"]
    for name in "ab":
        truth, trimap, alpha = (
            np.asarray(Image.open(path / f"{name}.png"))
            for path in (tmp_path / "truths", tmp_path / "trimaps", folder / "alphas")
        )
        unknown = trimap == 128
        np.testing.assert_array_equal(alpha[~unknown], trimap[~unknown])
        error = np.abs(alpha.astype(float) - truth)[unknown]
        assert rows[name]["sad_unknown"] == pytest.approx(error.sum() / 255 / 1000, abs=3e-3)
        assert rows[name]["mad_unknown"] == pytest.approx(error.mean() / 255, abs=3e-3)


@pytest.mark.parametrize(
    "parts, words",
    [
        (("photos", "truths"), "tiny_trimap needs a trimap for each photo: pass --trimaps DIR"),
        (("truths", "trimaps"), "--photos DIR and --truths DIR"),
        (("photos", "trimaps"), "--photos DIR and --truths DIR"),
    ],
)
def test_missing_folders_are_reported(trimap_folders, capsys, parts, words):
    assert trimap_folders(*parts) == 2
    assert words in capsys.readouterr().err


def test_network_is_scored_with_captured_backgrounds(config, tmp_path, capsys):
    """The network that subtracts is exact where photo and background differ by 1."""
    config.name, config.model, config.test_time = "tiny_background", {}, {}
    gain = {"params": {"gain": np.ones(1, np.float32)}}
    write_state_dict(tmp_path / "t.safetensors", to_state_dict("tiny_background", gain))
    claim(tmp_path / "run", config)
    empty = np.random.default_rng(0).integers(0, 2, (40, 34, 3), np.uint8) * 255
    truth = np.zeros((40, 34), np.uint8)
    truth[5:20, 7:30] = 255
    photo = np.where(truth[..., None] > 0, 255 - empty, empty)
    for part, image in (("photos", photo), ("truths", truth), ("backgrounds", empty)):
        (tmp_path / part).mkdir()
        Image.fromarray(image).save(tmp_path / part / "a.png")

    def run(*parts):
        flags = [f"--workdir={tmp_path / 'run'}", f"--checkpoint={tmp_path / 't.safetensors'}"]
        flags += [f"--{part}={tmp_path / part}" for part in parts]
        return main(["launch.py", "--mode=evaluate", *flags], "")

    assert run("photos", "truths") == 2
    assert "needs a background for each photo: pass --backgrounds DIR" in capsys.readouterr().err
    Image.fromarray(empty[1:]).save(tmp_path / "backgrounds" / "a.png")
    assert run("photos", "truths", "backgrounds") == 2
    assert "a.png: 34 x 39 pixels, but its truth has 34 x 40" in capsys.readouterr().err
    Image.fromarray(empty).save(tmp_path / "backgrounds" / "a.png")
    assert run("photos", "truths", "backgrounds") == 0
    assert table(tmp_path / "run/evaluation/t/scores.csv")["a"]["sad"] == 0
    arguments = [f"--{x}={tmp_path / x}" for x in ("truths", "backgrounds")]
    arguments.append(f"--predictions={tmp_path / 'truths'}")
    assert main(["launch.py", "--mode=evaluate", *arguments], "") == 2
    assert "needs no network: omit --backgrounds" in capsys.readouterr().err


def test_backgrounds_are_rejected_if_the_network_takes_none(trimap_folders, tmp_path, capsys):
    (tmp_path / "backgrounds").mkdir()
    assert trimap_folders("photos", "truths", "trimaps", "backgrounds") == 2
    assert "tiny_trimap takes no background: omit --backgrounds" in capsys.readouterr().err


def test_all_faults_of_the_folders_are_listed_together(trimap_folders, tmp_path, capsys):
    (tmp_path / "photos" / "a.png").unlink()
    Image.new("L", (40, 34)).save(tmp_path / "trimaps" / "b.png")
    assert trimap_folders("photos", "truths", "trimaps") == 2
    error = capsys.readouterr().err
    assert f"a.png: no file a.* in {tmp_path / 'photos'}" in error
    assert "b.png: 40 x 34 pixels, but its truth has 34 x 40" in error
    assert not (tmp_path / "run" / "evaluation").exists()


def test_chain_is_scored_on_photos_and_truths_only(trimap_folders, finished, tmp_path, monkeypatch):
    """Trimap folders define the unknown region; the network takes those of the first network."""
    rule = TrimapRule("alpha", 0.52, 0.0, {"alpha": (0,)})
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], trimap=rule))
    monkeypatch.setattr(trimap_folders, "more", [f"--trimap_from={finished[0]}"])
    folder = tmp_path / "run" / "evaluation" / "t"
    assert trimap_folders("photos", "truths") == 0
    alone = table(folder / "scores.csv")
    assert "mad_unknown" not in alone["mean"]
    alphas = {x.name: x.read_bytes() for x in (folder / "alphas").iterdir()}
    monkeypatch.setattr(trimap_folders, "more", [*trimap_folders.more, "--overwrite"])
    assert trimap_folders("photos", "truths", "trimaps") == 0
    both = table(folder / "scores.csv")
    assert both["mean"]["mad"] == alone["mean"]["mad"] and "mad_unknown" in both["mean"]
    assert {x.name: x.read_bytes() for x in (folder / "alphas").iterdir()} == alphas
