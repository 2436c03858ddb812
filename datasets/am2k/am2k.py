"""AM-2k: 2000 photos of animals of 20 kinds with their alpha.

It is prepared from the files as their owners give them out, in four parts:
    am2k/photos, split train: 1800 photos with alpha, of GFM's ORI-Track;
    am2k/foregrounds, split train: their foregrounds, of the COMP-Track;
    am2k/foregrounds_denoised, split train: the same, and again without their noise;
    am2k/validation, split validation: 200 photos with alpha and the owners' trimap.
The owners have every user estimate the colours of the foregrounds, in train/fg and train/fg_denoise
by closed-form matting; without these folders they are estimated here, by the multi-level method.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared import by_name
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import Path, manual_folder

HOMEPAGE = "https://github.com/JizhiziLi/GFM"
TRAIN, VALIDATION = "AM-2k/train", "AM-2k/validation"
FEATURES = {
    "photos": ("image", "alpha"),
    "foregrounds": ("foreground", "alpha"),
    "foregrounds_denoised": ("foreground", "alpha", "foreground_denoised"),
    "validation": ("image", "alpha", "trimap"),
}


def layouts(manual: Path) -> dict[str, by_name.Layout]:
    """The folders of each part."""
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


class Am2k(tfds.core.GeneratorBasedBuilder):
    """The animals of GFM (Li et al., IJCV 2022)."""

    name = "am2k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="photos", description="1800 photos to train on."),
        tfds.core.BuilderConfig(name="foregrounds", description="Their foregrounds."),
        tfds.core.BuilderConfig(
            name="foregrounds_denoised", description="The same with denoised copies."
        ),
        tfds.core.BuilderConfig(name="validation", description="200 photos to test on."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get AM-2k by the links of {HOMEPAGE} and unpack it into the folder downloads/manual "
        "beside the prepared data, so that AM-2k with train and validation lies in it. For "
        "denoised copies run python -m matting_jax.data.estimated.denoise on AM-2k/train/original "
        "there."
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
