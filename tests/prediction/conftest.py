"""Fixtures of predictions: weights of the tiny network, and a tree of photos."""

import jax
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import use_folders
from tests.prediction.results import COLOUR, SIZES
from tests.tiny import tiny_config


@pytest.fixture(scope="session")
def weights(folders, compiled_once, tiny, tmp_path_factory):
    """(a checkpoint of the tiny network, a workdir with its config)."""
    config = use_folders(tiny_config(), folders, compiled_once)
    folder = tmp_path_factory.mktemp("weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "tiny.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    return folder / "tiny.safetensors", folder / "run"


@pytest.fixture
def matter(weights):
    """The Matter of the checkpoint, with the config of the workdir."""
    variables = mj.load_checkpoint("tiny", weights[0])
    return mj.Matter("tiny", variables, test_time={"reference_size": 32})


@pytest.fixture
def predict(weights, tmp_path):
    """A function that predicts into tmp_path/out, as the command line; returns the exit code."""

    def run(photos, *more):
        checkpoint, workdir = weights
        flags = [f"--workdir={workdir}", f"--checkpoint={checkpoint}", f"--input={photos}"]
        return main(
            ["launch.py", "--mode=predict", *flags, f"--output={tmp_path / 'out'}", *more], ""
        )

    return run


@pytest.fixture
def photos(tmp_path):
    """A tree of photos of all kinds, a broken one, and a text file."""
    folder = tmp_path / "photos"
    images = {
        "grey.png": Image.new("L", SIZES["grey"], 77),
        "sub/rgba.png": Image.new("RGBA", SIZES["sub/rgba"], (*COLOUR, 40)),
        "sub/deep/palette.gif": Image.new("RGB", SIZES["sub/deep/palette"], COLOUR).quantize(2),
        "dot.PNG": Image.new("RGB", SIZES["dot"], COLOUR),
        "photo.jpg": Image.new("RGB", SIZES["photo"], COLOUR),
    }
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:200])
    (folder / "letter.txt").write_text("dear")
    return folder
