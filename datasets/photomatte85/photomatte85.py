"""PhotoMatte85: 85 photos of people with alpha, in the one split test.

It is prepared from the RGBA files as their owners give them out. They have no backgrounds of their
own.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.files.images import is_image, read_rgba
from matting_jax.data.prepared.examples import info, png
from matting_jax.data.prepared.manual import Path, absent, check_missing, manual_folder

HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
NAME = "photomatte85"
FOLDER = "PhotoMatte85"
Example = tuple[int, dict[str, Any]]


class Photomatte85(tfds.core.GeneratorBasedBuilder):
    """The test foregrounds of BackgroundMattingV2 (Lin et al., CVPR 2021)."""

    name = NAME
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get PhotoMatte85 from its owners ({HOMEPAGE}) and unpack it into the folder "
        f"downloads/manual beside the prepared data, so that {FOLDER} with the .png files lies "
        "in it."
    )
    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description."""
        return info(self, ("foreground", "alpha"), HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The one split; ValueError that says what is missing."""
        folder = manual_folder(dl_manager) / FOLDER
        missing = absent([folder])
        paths = [] if missing else sorted(path for path in folder.iterdir() if is_image(path))
        if not paths and not missing:
            missing[str(folder / "*.png")] = None
        check_missing(missing, NAME, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {"test": self._generate_examples(paths)}

    def _generate_examples(self, paths: list[Path]) -> Iterator[Example]:
        """Pairs of index and encoded example, in the order of the names."""
        for index, path in enumerate(paths):
            rgba = read_rgba(str(path))
            if rgba[..., 3].min() == 255:
                raise ValueError(f"{path} has no alpha: restore it as it was sent.")
            colours, alpha = png(rgba[..., :3]), png(rgba[..., 3])
            yield index, {"foreground": colours, "alpha": alpha, "name": path.stem}
