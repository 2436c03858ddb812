"""PhotoMatte85: 85 photos of people with alpha, split test.

It is prepared from the owners' RGBA files. They come without backgrounds.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.files.images import read_rgba
from matting_jax.data.files.walk import is_image
from matting_jax.data.prepared.examples import ManualBuilder, png
from matting_jax.data.prepared.manual import Path, absent, check_missing

FOLDER = "PhotoMatte85"


class Photomatte85(ManualBuilder):
    """The test foregrounds of BackgroundMattingV2 (Lin et al., CVPR 2021)."""

    name = "photomatte85"
    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
    FEATURES = {"": ("foreground", "alpha")}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get PhotoMatte85 from its owners ({HOMEPAGE}) and unpack it into the folder "
        f"downloads/manual next to the prepared data, so that it contains {FOLDER} with the .png "
        "files."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of the split, sorted by name."""
        folder = manual / FOLDER
        missing = absent([folder])
        paths = [] if missing else sorted(path for path in folder.iterdir() if is_image(path))
        if not paths and not missing:
            missing[str(folder / "*.png")] = None
        check_missing(missing, self.name, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {"test": examples(paths)}


def examples(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yields the encoded example of each RGBA file.

    Raises ValueError for a file without transparency.
    """
    for path in paths:
        rgba = read_rgba(str(path), "ignore")
        if rgba[..., 3].min() == 255:
            raise ValueError(f"{path} has no alpha: restore the owners' file")
        colours, alpha = png(rgba[..., :3]), png(rgba[..., 3])
        yield {"foreground": colours, "alpha": alpha, "name": path.stem}
