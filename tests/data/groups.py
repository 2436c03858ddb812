"""Config groups of the tests of data/."""

from ml_collections import ConfigDict

from matting_jax.config import defaults


def crop_group(**fields) -> ConfigDict:
    """Returns the config group `data.crop` with these fields in addition to the defaults."""
    crop = defaults().data.crop
    crop.update(fields)
    return crop
