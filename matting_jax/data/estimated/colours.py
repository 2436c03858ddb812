"""Foreground colours of photos, estimated once and cached as RGBA files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.caches import one_at_a_time
from matting_jax.data.files.checks import identity
from matting_jax.data.files.folders import Pair
from matting_jax.data.files.images import has_profile, read_alpha, read_visible
from matting_jax.files import write_atomically
from matting_jax.image.foreground import multilevel


def cut_out(pairs: Sequence[Pair], cache: Path, workers: int, profile: str = "srgb") -> list[Path]:
    """Returns RGBA files with estimated foreground colours, one for each photo with its alpha.

    A file is written again if its photo or its alpha has changed.

    Args:
        pairs: the photos with their alphas.
        cache: folder of the files.
        workers: number of threads.
        profile: config.data.colour_profile.

    Raises:
        ValueError: with the file's name, if one cannot be read.
    """
    targets = [target_of(pair, cache, profile) for pair in pairs]
    if all(target.exists() for target in targets):
        return targets
    with one_at_a_time(cache / ".foreground_colours.lock", "estimates foreground colours"):
        write_missing(pairs, targets, workers, profile)
    return targets


def write_missing(
    pairs: Sequence[Pair], targets: Sequence[Path], workers: int, profile: str
) -> None:
    """Writes the RGBA files of `targets` that do not exist."""
    missing = [
        (pair.image, pair.alpha, target, profile)
        for pair, target in zip(pairs, targets, strict=True)
        if not target.exists()
    ]
    if not missing:
        return
    with tqdm(total=len(missing), desc="estimating foreground colours", disable=None) as progress:
        # Threads, because decoding, estimation and encoding release Python's lock.
        with ThreadPoolExecutor(min(len(missing), workers)) as pool:
            for _ in pool.map(write_cutout, *zip(*missing, strict=True)):
                progress.update()


def target_of(pair: Pair, cache: Path, profile: str) -> Path:
    """Returns the RGBA file of a photo and its alpha."""
    key = f"{identity(pair.image)} {identity(pair.alpha)}"
    if profile == "srgb" and has_profile(pair.image):  # other photos are the same in all profiles
        key += " srgb"
    return cache / "foreground_colours" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"


def write_cutout(image: Path, alpha: Path, target: Path, profile: str) -> None:
    """Estimates foreground colours and writes them with alpha as RGBA."""
    matte = read_alpha(alpha)
    rgba = np.dstack([multilevel(read_visible(image, profile), matte), matte])
    with write_atomically(target) as file:
        Image.fromarray(rgba).save(file, compress_level=1)
