"""PPM-100: 100 portraits with their alpha to test on, split test."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import manual_folder

HOMEPAGE = "https://github.com/ZHKKKe/PPM"
LAYOUT = {"test": {"image": "PPM-100/image", "alpha": "PPM-100/matte"}}


class Ppm100(tfds.core.GeneratorBasedBuilder):
    """The benchmark of MODNet (Ke et al., AAAI 2022)."""

    name = "ppm100"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get PPM-100 by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "beside the prepared data, so that PPM-100 with image and matte lies in it."
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
