"""P3M-10k: photos of people with blurred faces, with alpha.

It is prepared from the owners' files, in three configs:
    p3m10k/photos, split train: 9421 photos with alpha;
    p3m10k/foregrounds, split train: their foregrounds, from train/fg if that folder exists and
    otherwise estimated by the multi-level method;
    p3m10k/validation, splits p3m_500_p and p3m_500_np: 500 photos each with alpha and the owners'
    trimap; only those of p3m_500_p have blurred faces.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import Path

TRAIN, VALIDATION = "P3M-10k/train", "P3M-10k/validation"


def layouts(manual: Path) -> dict[str, by_name.Layout]:
    """Returns the folders of each feature, by config and split."""
    alpha, photos = {"alpha": f"{TRAIN}/mask"}, f"{TRAIN}/blurred_image"
    scored = {
        "p3m_500_p": ("P3M-500-P", "blurred_image"),
        "p3m_500_np": ("P3M-500-NP", "original_image"),
    }
    return {
        "photos": {"train": {"image": photos} | alpha},
        "foregrounds": {
            "train": alpha | by_name.colours(manual, "foreground", f"{TRAIN}/fg", photos)
        },
        "validation": {
            split: {"image": f"{VALIDATION}/{folder}/{images}"}
            | {
                part: f"{VALIDATION}/{folder}/{name}"
                for part, name in (("alpha", "mask"), ("trimap", "trimap"))
            }
            for split, (folder, images) in scored.items()
        },
    }


class P3m10k(ManualBuilder):
    """The people of P3M-Net (Li et al., ACM MM 2021)."""

    name = "p3m10k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="photos", description="9421 training photos."),
        tfds.core.BuilderConfig(name="foregrounds", description="Their foregrounds."),
        tfds.core.BuilderConfig(name="validation", description="P3M-500-P and P3M-500-NP."),
    ]
    HOMEPAGE = "https://github.com/JizhiziLi/P3M"
    FEATURES = {
        "photos": ("image", "alpha"),
        "foregrounds": ("foreground", "alpha"),
        "validation": ("image", "alpha", "trimap"),
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get P3M-10k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "next to the prepared data, so that it contains P3M-10k with train and validation."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of each split of the config, sorted by name."""
        return by_name.splits(self, manual, layouts(manual)[self.config_name])
