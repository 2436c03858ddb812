"""A network is added through its own files only: record, task, names, config."""

import csv
import re

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax import convert, data, models, tasks
from matting_jax.commandline import main
from matting_jax.config import load_config, read_config
from matting_jax.convert.files import read_state_dict
from matting_jax.prediction.load import load_matter
from matting_jax.training.state import initial_variables, training_model
from tests.helpers import (
    ROOT,
    assert_same,
    differs,
    lines_of,
    one_step,
    use_folders,
)
from tests.toy.models.toy import NETWORK

TOY = ROOT / "tests" / "toy"
CONFIG = TOY / "configs" / "toy.py"


@pytest.fixture(scope="module", autouse=True)
def toy():
    """Adds the files of the toy network to the places where those of the library are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.NETWORKS, "toy", NETWORK)
        for package in (tasks, convert):
            room = str(TOY / package.__name__.rpartition(".")[2])
            patch.setattr(package, "__path__", [*package.__path__, room])
        yield


def launch(*flags):
    assert main(["launch.py", *map(str, flags)], "") == 0


@pytest.fixture(scope="module")
def workdir(toy, folders, compiled_once, tmp_path_factory):
    """The folder of a finished run of two steps."""
    workdir = tmp_path_factory.mktemp("toy") / "run"
    launch(
        f"--config={CONFIG}",
        f"--workdir={workdir}",
        f"--config.data.train.foregrounds={folders / 'foregrounds'}",
        f"--config.data.train.backgrounds={folders / 'backgrounds'}",
        f"--config.data.test.images={folders / 'test'}",
        f"--config.data.cache={folders / 'cache'}",
        f"--config.compilation_cache={compiled_once}",
    )
    return workdir


def photo_of(folders, name="a"):
    return np.asarray(Image.open(folders / "test" / "image" / f"{name}.png"))


def test_the_page_shows_these_files():
    page = (ROOT / "docs" / "adding_a_network.md").read_text()
    shown = dict(
        re.findall(r"^`([\w/]+\.py)`:\n\n```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    )
    assert list(shown) == ["models/toy.py", "tasks/toy.py", "convert/toy.py", "configs/toy.py"]
    for path, text in shown.items():
        assert text == (TOY / path).read_text(), path


def test_run_changes_every_module(workdir):
    config = read_config(workdir)
    assert config.name == "toy" and config.model.features == 8
    losses = [line["error"] for line in lines_of(workdir) if "error" in line]
    assert len(losses) == 2 and losses[1] != losses[0]
    model = training_model(config)
    first = jax.device_get(initial_variables(config, model))
    last = mj.load_checkpoint("toy", workdir, features=8)
    assert last.keys() == first.keys() == {"params", "batch_stats"}
    for module in ("conv", "norm", "head"):
        assert differs(first["params"][module], last["params"][module]), module


def test_loss_falls_on_a_repeated_batch(folders, compiled_once):
    """The loss falls on a repeated batch."""
    config = use_folders(load_config(CONFIG, ""), folders, compiled_once)
    _, _, terms = one_step(config, steps=10)
    assert terms[-1]["loss"] < 0.95 * terms[0]["loss"]


def test_it_is_evaluated_by_its_best_checkpoint(workdir):
    launch("--mode=evaluate", f"--workdir={workdir}")
    with (workdir / "evaluation" / "best" / "scores.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    config = read_config(workdir)
    matter = load_matter(config, workdir)
    for image in data.evaluation_images(config):
        error = np.abs(matter(image.image).astype(float) - image.alpha / 255).mean()
        assert float(rows[image.name]["mad"]) == pytest.approx(error, rel=1e-5)
    best = min(line["test_mad"] for line in lines_of(workdir)[1:] if "test_mad" in line)
    assert float(rows["mean"]["mad"]) == pytest.approx(best, rel=1e-5)


def test_it_predicts_what_its_matter_returns(workdir, folders, tmp_path):
    launch(
        "--mode=predict",
        f"--workdir={workdir}",
        f"--input={folders / 'test' / 'image'}",
        f"--output={tmp_path / 'out'}",
    )
    variables = mj.load_checkpoint("toy", workdir, features=8)
    matter = mj.Matter("toy", variables, features=8)
    outputs = NETWORK.module(features=8)
    for name in "abc":
        photo = photo_of(folders, name)
        alpha = matter(photo)
        assert alpha.shape == photo.shape[:2] and np.ptp(alpha) > 0
        direct = outputs.apply(variables, photo[None].astype(np.float32) / 255)["alpha"]
        np.testing.assert_allclose(alpha, direct[0, ..., 0], atol=1e-6)
        saved = np.asarray(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        np.testing.assert_array_equal(saved, np.rint(255 * alpha))


def test_it_is_converted_both_ways_bit_for_bit(workdir, tmp_path):
    official, again = tmp_path / "toy.safetensors", tmp_path / "again.safetensors"
    launch("--mode=convert", f"--workdir={workdir}", f"--output={official}")
    launch("--mode=convert", f"--config={CONFIG}", f"--checkpoint={official}", f"--output={again}")
    variables = mj.load_checkpoint("toy", workdir, features=8)
    assert_same(mj.load_checkpoint("toy", official, features=8), variables)
    tensors = read_state_dict(official)
    assert "net.conv.weight" in tensors and tensors["net.conv.weight"].shape == (8, 3, 3, 3)
    kernel = variables["params"]["conv"]["kernel"]
    np.testing.assert_array_equal(tensors["net.conv.weight"], kernel.transpose(3, 2, 0, 1))
    assert_same(read_state_dict(again), tensors)
    assert_same(mj.to_state_dict("toy", variables, features=8), tensors)
    with pytest.raises(ValueError, match="toy with features=8, not with features=4"):
        mj.load_checkpoint("toy", workdir)


def test_it_makes_the_trimaps_of_a_network_that_takes_them(workdir, folders, tiny):
    toy = load_matter(read_config(workdir), workdir)
    photo = photo_of(folders)
    rule = {"sure": float(np.quantile(np.maximum(toy(photo), 1 - toy(photo)), 0.5))}
    trimap = toy.make_trimap(photo, rule)
    assert set(np.unique(trimap)) >= {0.5} and len(np.unique(trimap)) > 1
    model = mj.create_model("tiny_trimap")
    variables = model.init(jax.random.key(0), **models.example_inputs(model))
    chained = mj.Matter("tiny_trimap", variables, trimap_from=toy, trimap_rule=rule)
    plain = mj.Matter("tiny_trimap", variables)
    assert chained.needs == [] and plain.needs == ["trimap"]
    alpha = chained(photo)
    np.testing.assert_array_equal(alpha, plain(photo, trimap=trimap))
    known = trimap != 0.5
    np.testing.assert_array_equal(alpha[known], trimap[known])
    assert np.ptp(alpha[~known]) > 0
