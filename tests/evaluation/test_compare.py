import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matting_jax import metrics
from matting_jax.commandline import main
from matting_jax.evaluation import measure
from matting_jax.evaluation.compare import compare
from tests.helpers import soft_disc

HEIGHT, WIDTH = 40, 48
TRIMAP = np.repeat(np.array([0, 84, 85, 128, 169, 170, 255, 255], np.uint8), 6)[None].repeat(40, 0)


def save(array, *place):
    path = place[0].joinpath(*place[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folders(tmp_path):
    """Three predictions: grey with 8 and 16 bits, and a cut-out, whose trimap is all known."""
    rng = np.random.default_rng(0)
    truth = soft_disc(HEIGHT, WIDTH)
    noisy = np.clip(truth + rng.normal(0, 30, truth.shape), 0, 255).astype(np.uint8)
    wide = np.clip(257 * truth.astype(int) + rng.integers(-9999, 9999, truth.shape), 0, 65535)
    colours = rng.integers(0, 256, (*truth.shape, 3), np.uint8)
    save(noisy, tmp_path, "predictions", "grey.png")
    save(wide.astype(np.uint16), tmp_path, "predictions", "wide.png")
    save(np.dstack([colours, noisy]), tmp_path, "predictions", "known.png")
    for name in ("grey", "wide", "known"):
        save(truth, tmp_path, "truths", f"{name}.png")
        trimap = TRIMAP if name != "known" else np.where(truth > 99, 255, 0).astype(np.uint8)
        save(trimap, tmp_path, "trimaps", f"{name}.bmp")
    save(colours, tmp_path, "photos", "grey.jpg")
    arrays = {"grey": noisy / 255, "wide": wide / 65535, "known": noisy / 255}
    return tmp_path, {name: x.astype(np.float32) for name, x in arrays.items()}, truth / 255


def arguments(folder, *names):
    return [f"--{name}={folder / name}" for name in names]


def run(folder, *more, names=("predictions", "truths", "trimaps")):
    flags = arguments(folder, *names)
    output = f"--output={folder / 'out'}"
    return main(["launch.py", "--mode=evaluate", *flags, output, *more], "")


def table(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("name"): {key: float(x) for key, x in row.items()} for row in rows}


def test_columns_are_the_metrics_of_unrounded_files_with_known_pixels_filled(folders, capsys):
    folder, predictions, truth = folders
    assert run(folder) == 0
    rows = table(folder / "out" / "scores.csv")
    assert [*rows] == ["grey", "known", "wide", "mean"]
    trimap = np.repeat([0, 0, 0.5, 0.5, 0.5, 1, 1, 1], 6)[None].repeat(HEIGHT, 0)
    for name in ("grey", "wide"):
        expected = {}
        filled = np.where(trimap == 0.5, predictions[name], trimap).astype(np.float32)
        for key in ("sad", "mse", "mad", "grad", "conn"):
            metric = getattr(metrics, key)
            expected[key] = metric(predictions[name], truth)
            expected[f"{key}_unknown"] = metric(filled, truth, trimap)
        for region, value in metrics.sad_split(predictions[name], truth, trimap).items():
            expected[f"sad_{region}"] = value
        assert rows[name] == pytest.approx(expected, rel=1e-5)
    assert rows["wide"]["grad_unknown"] != pytest.approx(
        metrics.grad(predictions["wide"], truth, trimap), rel=1e-2
    )
    for key in ("mse_unknown", "mad_unknown"):  # of no pixels
        assert np.isnan(rows["known"][key])
        assert rows["mean"][key] == pytest.approx((rows["grey"][key] + rows["wide"][key]) / 2)
    assert rows["mean"]["sad"] == pytest.approx(np.mean([rows[x]["sad"] for x in predictions]))
    text = capsys.readouterr().out
    page = (folder / "out" / "index.html").read_text()
    for told in (text, page):
        assert "filled from the trimap" in told
        assert "mse_unknown is NaN for 1 of 3 images" in told
    assert f"SAD {rows['mean']['sad']:.4f}, MSE" in text


@pytest.mark.parametrize("convention, missing", [("gfm", ("grad", "conn")), ("bgm", ("mad",))])
def test_scores_are_those_of_the_convention(folders, convention, missing):
    folder, predictions, truth = folders
    assert run(folder, f"--convention={convention}") == 0
    row = table(folder / "out" / "scores.csv")["grey"]
    trimap = np.repeat([0, 0, 0.5, 0.5, 0.5, 1, 1, 1], 6)[None].repeat(HEIGHT, 0)
    assert not {f"{key}_unknown" for key in missing} & row.keys()
    for key in {"sad", "mse", "mad", "grad", "conn"} & row.keys():
        metric = getattr(metrics, key)
        value = metric(predictions["grey"], truth, convention=convention)
        assert row[key] == pytest.approx(value, rel=1e-5)
        if f"{key}_unknown" in row:
            value = metric(predictions["grey"], truth, trimap, convention=convention, fill=True)
            assert row[f"{key}_unknown"] == pytest.approx(value, rel=1e-5)


def test_unknown_convention_suggests_the_closest(folders, capsys):
    assert run(folders[0], "--convention=matlap") == 2
    assert "did you mean 'matlab'" in capsys.readouterr().err


def test_results_of_predict_are_found_as_predictions(folders):
    folder, predictions, truth = folders
    for path in list((folder / "predictions").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_alpha"))
        save(np.zeros((3, 3, 4), np.uint8), folder, "predictions", f"{path.stem}_cutout.png")
    assert run(folder, names=("predictions", "truths")) == 0
    rows = table(folder / "out" / "scores.csv")
    assert rows["grey"]["sad"] == pytest.approx(metrics.sad(predictions["grey"], truth), rel=1e-5)


def test_all_faults_are_listed_before_anything_is_measured(folders, capsys):
    folder = folders[0]
    truth = soft_disc(HEIGHT, WIDTH)
    save(truth, folder, "truths", "unpredicted.png")
    save(truth, folder, "predictions", "stray.png")
    save(truth[:, 1:], folder, "predictions", "grey.png")
    (folder / "predictions" / "wide.png").write_bytes(b"not an image")
    save(truth, folder, "predictions", "known.jpg")
    (folder / "trimaps" / "grey.bmp").unlink()
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert "unpredicted.png: no file unpredicted.*" in error and "trimaps" in error
    assert "stray.png: no file stray.*" in error
    assert f"no file grey.* in {folder / 'trimaps'}" in error
    assert "wide.png" in error and "known.jpg" in error and "2 files with the same stem" in error
    assert not (folder / "out").exists()
    save(TRIMAP, folder, "trimaps", "grey.bmp")
    assert run(folder) == 2
    assert "grey.png: 47 x 40 pixels, but its truth has 48 x 40" in capsys.readouterr().err


def test_photos_with_other_names_are_rejected(folders, capsys):
    folder = folders[0]
    (folder / "photos" / "grey.jpg").rename(folder / "photos" / "other.jpg")
    assert run(folder, names=("predictions", "truths", "photos")) == 2
    assert "no file has the name of a truth" in capsys.readouterr().err


def test_processes_give_the_same_results_in_the_same_order(folders, monkeypatch):
    folder = folders[0]
    rng = np.random.default_rng(1)
    for number in range(20):
        truth = soft_disc(20 + number, 24)
        save(truth, folder, "many", "truths", f"{number}.png")
        save(rng.integers(0, 256, truth.shape, np.uint8), folder, "many", "made", f"{number}.png")
    places = [folder / "many" / name for name in ("made", "truths")]
    contents = []
    for cores in (1, 2):
        monkeypatch.setattr(measure, "cores", lambda cores=cores: cores)
        compare(*places, output=folder / str(cores))
        files = sorted(x for x in (folder / str(cores)).rglob("*") if x.is_file())
        contents.append({x.relative_to(folder / str(cores)): x.read_bytes() for x in files})
    assert contents[0] == contents[1] and len(contents[0]) == 2 + 20 * 3


def test_results_are_written_atomically(folders, monkeypatch, capsys):
    folder = folders[0]
    assert run(folder) == 0
    before = (folder / "out" / "scores.csv").read_bytes()
    assert run(folder) == 2 and "--overwrite" in capsys.readouterr().err

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(measure, "write_page", fail)
    assert run(folder, "--overwrite", "--convention=gfm") == 2
    assert (folder / "out" / "scores.csv").read_bytes() == before
    assert sorted(x.name for x in folder.iterdir()) == [
        "out",
        "photos",
        "predictions",
        "trimaps",
        "truths",
    ]


def test_earlier_results_are_restored_if_the_new_ones_cannot_replace_them(folders, monkeypatch):
    folder = folders[0]
    assert run(folder) == 0
    before = (folder / "out" / "scores.csv").read_bytes()
    rename = Path.rename

    def fail(path, target):
        if (path / "scores.csv").exists() and "gfm" in (path / "index.html").read_text():
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    assert run(folder, "--overwrite", "--convention=gfm") == 2
    assert (folder / "out" / "scores.csv").read_bytes() == before
    assert len(list(folder.iterdir())) == 5


def test_measured_files_are_never_replaced(folders, capsys):
    folder = folders[0]
    (folder / "out").mkdir()
    (folder / "predictions").rename(folder / "out" / "alphas")
    flags = [f"--predictions={folder / 'out' / 'alphas'}", f"--truths={folder / 'truths'}"]
    more = [f"--output={folder / 'out'}", "--overwrite"]
    assert main(["launch.py", "--mode=evaluate", *flags, *more], "") == 2
    assert "would replace files that are measured" in capsys.readouterr().err
    assert len(list((folder / "out" / "alphas").iterdir())) == 3


def test_results_are_next_to_the_predictions_by_default(folders):
    folder = folders[0]
    compare(folder / "predictions", folder / "truths")
    assert (folder / "predictions_evaluation" / "index.html").is_file()


def test_results_of_saved_alphas_are_next_to_their_evaluation(folders):
    folder, _, _ = folders
    evaluation = folder / "modnet"
    (folder / "predictions").rename(folder / "made")
    evaluation.mkdir()
    (folder / "made").rename(evaluation / "alphas")
    (evaluation / "index.html").write_text("")
    compare(evaluation / "alphas", folder / "truths")
    assert sorted(x.name for x in evaluation.iterdir()) == ["alphas", "index.html"]
    assert (folder / "modnet_alphas_evaluation" / "scores.csv").is_file()
