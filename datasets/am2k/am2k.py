"""AM-2k: 2000 photos of animals of 20 species with alpha.

It is prepared from the owners' files, in four configs:
    am2k/photos, split train: 1800 photos with alpha (GFM's ORI-Track);
    am2k/foregrounds, split train: their foregrounds (GFM's COMP-Track);
    am2k/foregrounds_denoised, split train: the foregrounds and their denoised copies;
    am2k/validation, split validation: 200 photos with alpha and the owners' trimap.
The owners have users estimate the foreground colours by closed-form matting, into train/fg and
train/fg_denoise. Without these folders the colours are estimated here, by the multi-level method.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import Path

TRAIN, VALIDATION = "AM-2k/train", "AM-2k/validation"


def layouts(manual: Path) -> dict[str, by_name.Layout]:
    """Returns the folders of each feature, by config and split."""
    alpha = {"alpha": f"{TRAIN}/mask"}
    colours = alpha | by_name.colours(manual, "foreground", f"{TRAIN}/fg", f"{TRAIN}/original")
    quiet = by_name.colours(
        manual, "foreground_denoised", f"{TRAIN}/fg_denoise", f"{TRAIN}/original_denoise"
    )
    scored = {"image": "original", "alpha": "mask", "trimap": "trimap"}
    return {
        "photos": {"train": {"image": f"{TRAIN}/original"} | alpha},
        "foregrounds": {"train": colours},
        "foregrounds_denoised": {"train": colours | quiet},
        "validation": {
            "validation": {part: f"{VALIDATION}/{folder}" for part, folder in scored.items()}
        },
    }


class Am2k(ManualBuilder):
    """The animals of GFM (Li et al., IJCV 2022)."""

    name = "am2k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="photos", description="1800 training photos."),
        tfds.core.BuilderConfig(name="foregrounds", description="Their foregrounds."),
        tfds.core.BuilderConfig(
            name="foregrounds_denoised", description="The same with denoised copies."
        ),
        tfds.core.BuilderConfig(name="validation", description="200 validation photos."),
    ]
    HOMEPAGE = "https://github.com/JizhiziLi/GFM"
    FEATURES = {
        "photos": ("image", "alpha"),
        "foregrounds": ("foreground", "alpha"),
        "foregrounds_denoised": ("foreground", "alpha", "foreground_denoised"),
        "validation": ("image", "alpha", "trimap"),
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get AM-2k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "next to the prepared data, so that it contains AM-2k with train and validation. For "
        "denoised copies run python -m matting_jax.data.estimated.denoise on AM-2k/train/original "
        "there."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of each split of the config, sorted by name."""
        return by_name.splits(self, manual, layouts(manual)[self.config_name])
