import numpy as np
import pytest
from PIL import Image

from matting_jax.config import defaults

BUILDER = '''
import numpy as np
import tensorflow_datasets as tfds

from .pixels import filled


class TinyPlates(tfds.core.GeneratorBasedBuilder):
    """Record i: foreground of value i, alpha 40 i, background of value 100 + i."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        images = {"foreground": 3, "alpha": 1, "background": 3}
        features = {n: tfds.features.Image(shape=(None, None, c)) for n, c in images.items()}
        features["name"] = tfds.features.Text()
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(6), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {
                "foreground": filled(i, 3),
                "alpha": filled(40 * i, 1),
                "background": filled(100 + i, 3),
                "name": f"plate {i}",
            }
'''
PIXELS = """
import numpy as np


def filled(value, channels):
    return np.full((24, 20, channels), value, np.uint8)
"""


@pytest.fixture(scope="session")
def plates(tmp_path_factory):
    """(folder of builders, folder of prepared data) of the data set tiny_plates."""
    folder = tmp_path_factory.mktemp("builders")
    (folder / "tiny_plates").mkdir()
    (folder / "tiny_plates" / "tiny_plates.py").write_text(BUILDER)
    (folder / "tiny_plates" / "pixels.py").write_text(PIXELS)
    return folder, tmp_path_factory.mktemp("prepared")


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
