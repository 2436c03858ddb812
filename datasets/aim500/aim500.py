"""AIM-500: 500 photos of people, animals, plants, things and what is transparent, split test.

Each has its alpha and the owners' trimap.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import manual_folder

HOMEPAGE = "https://github.com/JizhiziLi/AIM"
LAYOUT = {
    "test": {"image": "AIM-500/original", "alpha": "AIM-500/mask", "trimap": "AIM-500/trimap"}
}


class Aim500(tfds.core.GeneratorBasedBuilder):
    """The benchmark of AIM (Li, Zhang and Tao, IJCAI 2021)."""

    name = "aim500"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get AIM-500 by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "beside the prepared data, so that AIM-500 with original, mask and trimap lies in it."
    )

    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description."""
        return info(self, LAYOUT["test"], HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The splits; ValueError that names all that is missing."""
        return by_name.splits(self, manual_folder(dl_manager), LAYOUT)

    def _generate_examples(self, files: list[dict[str, Any]]) -> Iterator[by_name.Example]:
        """Pairs of index and encoded example, in the order of the names."""
        yield from enumerate(by_name.examples(files))
