"""VideoMatte240K: green-screen video frames of people with alpha, in splits train and test.

It is prepared from the owners' frames, in two configs:
    videomatte240k/hd: long side 1920 pixels;
    videomatte240k/sd: smaller copies of the same frames.
The train split has 479 clips and the test split 5. The clips come without backgrounds.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import ManualBuilder, foreground_examples
from matting_jax.data.prepared.manual import Path

from . import files


class Videomatte240k(ManualBuilder):
    """The foregrounds of BackgroundMattingV2 (Lin et al., CVPR 2021)."""

    name = "videomatte240k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="hd", description="The frames of VideoMatte240K_JPEG_HD."),
        tfds.core.BuilderConfig(name="sd", description="The frames of VideoMatte240K_JPEG_SD."),
    ]
    HOMEPAGE = "https://grail.cs.washington.edu/projects/background-matting-v2"
    FEATURES = {config: ("foreground", "alpha") for config in ("hd", "sd")}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get VideoMatte240K as JPEG frames, HD or SD, from its owners ({HOMEPAGE}) and unpack it "
        "into the folder downloads/manual next to the prepared data, so that it contains "
        "VideoMatte240K_JPEG_HD or VideoMatte240K_JPEG_SD with the folders train and test. Each "
        "has fgr and pha with one folder for each clip."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of both splits, clip by clip."""
        folder = manual / f"VideoMatte240K_JPEG_{self.config_name.upper()}"
        splits = files.find_frames(folder, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return {split: foreground_examples(frames) for split, frames in splits.items()}
