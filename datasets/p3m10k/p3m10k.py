"""P3M-10k: photos of people with blurred faces, and their alpha.

It is prepared from the files as their owners give them out, in three parts:
    p3m10k/photos, split train: 9421 photos with alpha;
    p3m10k/foregrounds, split train: their foregrounds, from train/fg if there is that folder, else
    estimated by the multi-level method;
    p3m10k/validation, splits p3m_500_p and p3m_500_np: 500 photos each with alpha and the owners'
    trimap, with blurred faces in the first alone.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import Path, manual_folder

HOMEPAGE = "https://github.com/JizhiziLi/P3M"
TRAIN, VALIDATION = "P3M-10k/train", "P3M-10k/validation"
FEATURES = {
    "photos": ("image", "alpha"),
    "foregrounds": ("foreground", "alpha"),
    "validation": ("image", "alpha", "trimap"),
}


def layouts(manual: Path) -> dict[str, by_name.Layout]:
    """The folders of each part."""
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


class P3m10k(tfds.core.GeneratorBasedBuilder):
    """The people of P3M-Net (Li et al., ACM MM 2021)."""

    name = "p3m10k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="photos", description="9421 photos to train on."),
        tfds.core.BuilderConfig(name="foregrounds", description="Their foregrounds."),
        tfds.core.BuilderConfig(name="validation", description="P3M-500-P and P3M-500-NP."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get P3M-10k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "beside the prepared data, so that P3M-10k with train and validation lies in it."
    )

    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description of the part."""
        return info(self, FEATURES[self.builder_config.name], HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The splits of the part; ValueError that names all that is missing."""
        manual = manual_folder(dl_manager)
        return by_name.splits(self, manual, layouts(manual)[self.builder_config.name])

    def _generate_examples(self, files: list[dict[str, Any]]) -> Iterator[by_name.Example]:
        """Pairs of index and encoded example, in the order of the names."""
        yield from enumerate(by_name.examples(files))
