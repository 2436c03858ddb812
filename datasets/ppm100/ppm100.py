"""PPM-100: 100 portraits with alpha for evaluation, split test."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import Path

LAYOUT = {"test": {"image": "PPM-100/image", "alpha": "PPM-100/matte"}}


class Ppm100(ManualBuilder):
    """The benchmark of MODNet (Ke et al., AAAI 2022)."""

    name = "ppm100"
    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://github.com/ZHKKKe/PPM"
    FEATURES = {"": LAYOUT["test"]}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get PPM-100 by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "next to the prepared data, so that it contains PPM-100 with image and matte."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of the split, sorted by name."""
        return by_name.splits(self, manual, LAYOUT)
