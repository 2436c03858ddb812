import numpy as np
import pytest
from PIL import Image

from matting_jax.config import defaults


@pytest.fixture
def config(tmp_path, plates):
    config = defaults()
    config.seed, config.batch_size = 7, 4
    config.data.directory, config.data.cache = str(plates[1]), str(tmp_path / "cache")
    config.data.workers, config.data.foreground_colours = 2, "as_is"
    config.data.train.dataset = config.data.test.dataset = "tiny_plates"
    config.data.crop.update(size=32, rescale=(24, 48))
    return config


@pytest.fixture
def photos(tmp_path):
    """A folder of five photos with alpha: blue over red through a soft edge."""
    folder = tmp_path / "photos"
    (folder / "image").mkdir(parents=True)
    (folder / "alpha").mkdir()
    alpha = np.tile(np.clip(np.linspace(-200, 455, 60), 0, 255).astype(np.uint8), (40, 1))
    weight = alpha[..., None] / 255
    image = weight * np.array([0, 0, 255]) + (1 - weight) * np.array([255, 0, 0])
    for name in "abcde":
        Image.fromarray(np.rint(image).astype(np.uint8)).save(folder / "image" / f"{name}.png")
        Image.fromarray(alpha).save(folder / "alpha" / f"{name}.png")
    return folder


@pytest.fixture
def backgrounds(tmp_path):
    """A tree of three background images of 50 x 70 pixels."""
    folder = tmp_path / "backgrounds"
    for value, place in enumerate((".", "city", "city/night")):
        (folder / place).mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (70, 50), (value, 0, 0)).save(folder / place / f"{value}.png")
    return folder
