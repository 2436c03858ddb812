"""Backgrounds: photos without a subject, in a split for each folder that holds them.

The owners of BackgroundMattingV2 published those that they validate on; those that they train on
they did not. Any photos will do.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.files.images import is_image
from matting_jax.data.prepared.examples import info
from matting_jax.data.prepared.manual import absent, check_missing, manual_folder

HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
NAME = "backgrounds"
FOLDER = "Backgrounds"
Example = tuple[int, dict[str, Any]]


class Backgrounds(tfds.core.GeneratorBasedBuilder):
    """Photos to lay foregrounds over."""

    name = NAME
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put photos without a subject into folders of downloads/manual/Backgrounds beside the "
        "prepared data, say Backgrounds/train and Backgrounds/valid: each folder is a split. 200 "
        f"to validate on are at {HOMEPAGE}."
    )
    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description."""
        return info(self, ("image",), HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """A split for each folder; ValueError where there is none."""
        folder = Path(manual_folder(dl_manager)) / FOLDER
        missing = absent([folder])
        parts = [] if missing else sorted(part for part in folder.iterdir() if part.is_dir())
        splits = {part.name: sorted(x for x in part.rglob("*") if is_image(x)) for part in parts}
        splits = {name: paths for name, paths in splits.items() if paths}
        if not splits and not missing:
            missing[str(folder / "train" / "*.jpg")] = None
        check_missing(missing, NAME, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {name: self._generate_examples(folder / name, x) for name, x in splits.items()}

    def _generate_examples(self, folder: Path, paths: list[Path]) -> Iterator[Example]:
        """Pairs of index and encoded example, in the order of the names."""
        for index, path in enumerate(paths):
            yield index, {"image": path, "name": path.relative_to(folder).as_posix()}
