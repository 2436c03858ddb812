"""BG-20k: 20,000 photos of high resolution without a subject of their own, to compose upon.

It is prepared from the files as their owners give them out, in two parts:
    bg20k/backgrounds, splits train and testval: 15,000 and 5000 photos;
    bg20k/denoised, split train: each photo, and again without its noise.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import manual_folder

HOMEPAGE = "https://github.com/JizhiziLi/GFM"
FEATURES = {
    "backgrounds": ("background",),
    "denoised": ("background", "background_denoised"),
}
LAYOUTS = {
    "backgrounds": {split: {"background": f"BG-20k/{split}"} for split in ("train", "testval")},
    "denoised": {
        "train": {"background": "BG-20k/train", "background_denoised": "BG-20k/train_denoise"}
    },
}


class Bg20k(tfds.core.GeneratorBasedBuilder):
    """The backgrounds of GFM (Li et al., IJCV 2022)."""

    name = "bg20k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="backgrounds", description="20,000 photos."),
        tfds.core.BuilderConfig(name="denoised", description="With denoised copies, to train on."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get BG-20k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "beside the prepared data, so that BG-20k with train and testval lies in it. For denoised "
        "copies run python -m matting_jax.data.estimated.denoise on BG-20k/train there."
    )

    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description of the part."""
        return info(self, FEATURES[self.builder_config.name], HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The splits of the part; ValueError that names all that is missing."""
        manual = manual_folder(dl_manager)
        return by_name.splits(self, manual, LAYOUTS[self.builder_config.name])

    def _generate_examples(self, files: list[dict[str, Any]]) -> Iterator[by_name.Example]:
        """Pairs of index and encoded example, in the order of the names."""
        yield from enumerate(by_name.examples(files))
