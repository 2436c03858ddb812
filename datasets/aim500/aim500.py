"""AIM-500: 500 photos of people, animals, plants, objects and transparent things, split test.

Each has its alpha and the owners' trimap.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import Path

LAYOUT = {
    "test": {"image": "AIM-500/original", "alpha": "AIM-500/mask", "trimap": "AIM-500/trimap"}
}


class Aim500(ManualBuilder):
    """The benchmark of AIM (Li, Zhang and Tao, IJCAI 2021)."""

    name = "aim500"
    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://github.com/JizhiziLi/AIM"
    FEATURES = {"": LAYOUT["test"]}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get AIM-500 by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "next to the prepared data, so that it contains AIM-500 with original, mask and trimap."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of the split, sorted by name."""
        return by_name.splits(self, manual, LAYOUT)
