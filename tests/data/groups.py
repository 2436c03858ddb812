"""Config groups and files of the tests of data/."""

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from matting_jax.config import defaults


def crop_group(**fields) -> ConfigDict:
    """Returns the config group `data.crop` with these fields in addition to the defaults."""
    crop = defaults().data.crop
    crop.update(fields)
    return crop


def make_copies(folder):
    """Writes copies of the images below a folder, as denoise.py, but 50 darker."""
    made = {path for path in folder.rglob("*.png")}
    for path in made:
        pixels = np.asarray(Image.open(path)).copy()
        pixels[..., :3] -= np.minimum(pixels[..., :3], 50)
        copy = folder.with_name(f"{folder.name}_denoise") / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(copy)
