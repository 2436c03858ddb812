"""Weights and alphas that are not finite, from the command line."""

import jax
import numpy as np
import pytest

from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import draw_images, noise, save_image, use_folders
from tests.tiny import tiny_config

NAME = "hr_branch.conv.weight"


@pytest.fixture(scope="module")
def run(compiled_once, tmp_path_factory):
    """(folder of data, workdir of the tiny network without a checkpoint, its weights)."""
    folder = draw_images(tmp_path_factory.mktemp("not_finite"))
    config = use_folders(tiny_config(), folder, compiled_once)
    claim(folder / "run", config)
    variables = jax.device_get(initial_variables(config, training_model(config)))
    return folder, folder / "run", to_state_dict("tiny", variables)


@pytest.fixture
def broken(run, tmp_path):
    """A function that writes the weights with some changed; returns the file."""

    def write(change):
        tensors = {name: np.array(x) for name, x in run[2].items()}
        change(tensors)
        write_state_dict(tmp_path / "broken.safetensors", tensors)
        return tmp_path / "broken.safetensors"

    return write


def some_nan(tensors):
    tensors[f"module.{NAME}"].flat[:5] = np.nan


def overflowing(tensors):
    """Finite weights whose products are not."""
    for name, x in tensors.items():
        if name.endswith("weight"):
            x *= np.float32(1e30)


def program(mode, run, file, output, *more):
    flags = [f"--workdir={run[1]}", f"--checkpoint={file}", f"--output={output}", *more]
    return main(["launch.py", f"--mode={mode}", *flags], "")


@pytest.mark.parametrize("mode", ["predict", "evaluate"])
def test_weights_that_are_not_finite_are_refused_before_anything_is_written(
    run, broken, tmp_path, capsys, mode
):
    more = [f"--input={run[0] / 'backgrounds'}"] if mode == "predict" else []
    assert program(mode, run, broken(some_nan), tmp_path / "out", *more) == 2
    size = run[2][f"module.{NAME}"].size
    assert f"are NaN or infinite: {NAME} (5 of {size} values)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_photos_whose_alpha_is_not_finite_are_reported_and_not_written(
    run, broken, tmp_path, capsys
):
    for name in ("a", "b"):
        save_image(noise(0, 40, 48, 3), tmp_path, "photos", f"{name}.png")
    photos = tmp_path / "photos"
    file = broken(overflowing)
    assert program("predict", run, file, tmp_path / "out", f"--input={photos}") == 1
    assert list((tmp_path / "out").glob("*.png")) == []
    printed = capsys.readouterr()
    assert "0 of 2 photos" in printed.out
    for name in ("a", "b"):
        assert f"{photos / name}.png: the network predicts NaN or infinity in" in printed.err


def test_evaluation_names_the_image_and_the_checkpoint(run, broken, tmp_path, capsys):
    file = broken(overflowing)
    assert program("evaluate", run, file, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "the alpha of a, predicted by" in error and str(file) in error
    assert "is NaN or infinite in" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
