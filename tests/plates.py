"""A small data set: three constant images in each of a few records."""

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


def write_builder(folder):
    """Writes the TFDS builder of the data set tiny_plates."""
    (folder / "tiny_plates").mkdir()
    (folder / "tiny_plates" / "tiny_plates.py").write_text(BUILDER)
    (folder / "tiny_plates" / "pixels.py").write_text(PIXELS)
