"""Small data sets in the folder layout of their owners."""

from matting_jax.config import defaults


def config_of(folder, crop, train, test):
    """Returns a config of the data sets in `folder`, from fields of its data groups."""
    config = defaults()
    config.data.update(directory=str(folder), cache=str(folder / "cache"), workers=2)
    config.data.crop.update(size=32, **crop)
    config.data.train.update(train)
    config.data.test.update(test)
    return config
