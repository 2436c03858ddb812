"""VideoMatte240K: frames of people before a green screen, with alpha, in splits train and test.

It is prepared from the frames as their owners give them out, in two sizes:
    videomatte240k/hd: long side 1920 pixels;
    videomatte240k/sd: smaller copies of the same frames.
The owners train on 479 clips and keep 5 for tests. The clips have no backgrounds of their own.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import foreground_examples, info
from matting_jax.data.prepared.manual import manual_folder

from . import files

HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
Example = tuple[int, dict[str, Any]]


class Videomatte240k(tfds.core.GeneratorBasedBuilder):
    """The foregrounds of BackgroundMattingV2 (Lin et al., CVPR 2021)."""

    name = "videomatte240k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="hd", description="The frames of VideoMatte240K_JPEG_HD."),
        tfds.core.BuilderConfig(name="sd", description="The frames of VideoMatte240K_JPEG_SD."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get VideoMatte240K as JPEG frames, HD or SD, from its owners ({HOMEPAGE}) and unpack it "
        "into the folder downloads/manual beside the prepared data, so that VideoMatte240K_JPEG_HD "
        "or VideoMatte240K_JPEG_SD lies in it, with train and test, in these fgr and pha, and in "
        "these a folder for each clip."
    )
    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description."""
        return info(self, ("foreground", "alpha"), HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Both splits; ValueError that names all that is missing."""
        manual = manual_folder(dl_manager)
        folder = manual / f"VideoMatte240K_JPEG_{self.builder_config.name.upper()}"
        splits = files.frames(folder, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {
            split: self._generate_examples(foreground_examples(foregrounds))
            for split, foregrounds in splits.items()
        }

    def _generate_examples(self, examples: Iterator[dict[str, Any]]) -> Iterator[Example]:
        """Pairs of index and encoded example, clip by clip."""
        yield from enumerate(examples)
