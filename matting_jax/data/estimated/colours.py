"""The true colours of a photographed foreground, estimated once and kept as RGBA files."""

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.data.files.checks import identity
from matting_jax.data.files.folders import Pair
from matting_jax.data.files.images import read_alpha, read_image
from matting_jax.files import written_whole
from matting_jax.image.foreground import multilevel


def cut_out(pairs: Sequence[Pair], cache: Path, workers: int) -> list[Path]:
    """RGBA files with estimated foreground colours, one for each photo with a matte.

    A file is made again when its photo or its matte has changed. Raises ValueError, naming the
    file, when one cannot be read.
    """
    targets = [_target(pair, cache) for pair in pairs]
    missing = [
        (pair.image, pair.alpha, target)
        for pair, target in zip(pairs, targets, strict=True)
        if not target.exists()
    ]
    if not missing:
        return targets
    with tqdm(total=len(missing), desc="estimating foreground colours", disable=None) as progress:
        if min(len(missing), workers) == 1:
            for job in missing:
                _make(*job)
                progress.update()
            return targets
        # Processes, because numba's parallel loops may not be called from two threads at once.
        with ProcessPoolExecutor(
            min(len(missing), workers), multiprocessing.get_context("spawn"), _one_thread
        ) as pool:
            for _ in pool.map(_make, *zip(*missing, strict=True)):
                progress.update()
    return targets


def _target(pair: Pair, cache: Path) -> Path:
    key = f"{identity(pair.image)} {identity(pair.alpha)}"
    return cache / "foreground_colours" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"


def _make(image: Path, alpha: Path, target: Path) -> None:
    matte = read_alpha(alpha)
    rgba = np.dstack([multilevel(read_image(image), matte), matte])
    with written_whole(target) as file:
        Image.fromarray(rgba).save(file, compress_level=1)


def _one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"
