"""Backgrounds: photos without a subject, one split for each folder of them.

The owners of BackgroundMattingV2 published only their validation backgrounds. Any photos without a
subject can serve for training.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.files.walk import images_below, is_skipped
from matting_jax.data.prepared.examples import ManualBuilder
from matting_jax.data.prepared.manual import absent, check_missing

FOLDER = "Backgrounds"


class Backgrounds(ManualBuilder):
    """Photos to composite foregrounds onto."""

    name = "backgrounds"
    VERSION = tfds.core.Version("1.0.0")
    COLOUR_PROFILE = "srgb"
    HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
    FEATURES = {"": ("image",)}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put photos without a subject into folders of downloads/manual/Backgrounds next to the "
        "prepared data, such as Backgrounds/train and Backgrounds/valid: each folder is a split. "
        f"200 validation backgrounds are at {HOMEPAGE}."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of each folder, sorted by path."""
        folder = Path(manual) / FOLDER
        missing = absent([folder])
        parts = [] if missing else sorted(part for part in folder.iterdir() if part.is_dir())
        parts = [part for part in parts if not is_skipped(part.name)]
        splits = {part.name: sorted(images_below(part)) for part in parts}
        splits = {name: paths for name, paths in splits.items() if paths}
        if not splits and not missing:
            missing[str(folder / "train" / "*.jpg")] = None
        check_missing(missing, self.name, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {name: examples(folder / name, paths) for name, paths in splits.items()}


def examples(folder: Path, paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yields the encoded example of each path, named by its path below `folder`."""
    for path in paths:
        yield {"image": path, "name": path.relative_to(folder).as_posix()}
