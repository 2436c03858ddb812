"""BG-20k: 20,000 high-resolution photos without a salient subject, used as backgrounds.

It is prepared from the owners' files, in two configs:
    bg20k/backgrounds, splits train and testval: 15,000 and 5000 photos;
    bg20k/denoised, split train: each photo and its denoised copy.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import Path

LAYOUTS = {
    "backgrounds": {split: {"background": f"BG-20k/{split}"} for split in ("train", "testval")},
    "denoised": {
        "train": {"background": "BG-20k/train", "background_denoised": "BG-20k/train_denoise"}
    },
}


class Bg20k(ManualBuilder):
    """The backgrounds of GFM (Li et al., IJCV 2022)."""

    name = "bg20k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="backgrounds", description="20,000 photos."),
        tfds.core.BuilderConfig(name="denoised", description="With denoised copies, to train on."),
    ]
    HOMEPAGE = "https://github.com/JizhiziLi/GFM"
    FEATURES = {
        "backgrounds": ("background",),
        "denoised": ("background", "background_denoised"),
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get BG-20k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "next to the prepared data, so that it contains BG-20k with train and testval. For "
        "denoised copies run python -m matting_jax.data.estimated.denoise on BG-20k/train there."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of each split of the config, sorted by name."""
        return by_name.splits(self, manual, LAYOUTS[self.config_name])
