"""Writes denoised copies of images, from which RSSN makes composites without noise.

python -m matting_jax.data.estimated.denoise FOLDER

writes FOLDER_denoise/NAME.png for each image NAME.* of FOLDER and its subfolders, where training
looks for it; the transparency of cut-outs is kept. Existing copies are kept, so that an interrupted
run resumes. Needs `pip install 'matting_jax[denoise]'`: non-local means of scikit-image, which has
a permissive licence. BM3D, which the released recipe uses, exists for Python only as binaries for
non-commercial use.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.caches import one_at_a_time
from matting_jax.data.estimated.denoised import copies_folder, copy_of
from matting_jax.data.files.images import read_header, read_rgba, read_visible
from matting_jax.data.files.profiles import PROFILES
from matting_jax.data.files.walk import images_below, real
from matting_jax.files import write_atomically


def denoise(image: np.ndarray) -> np.ndarray:
    """Removes the noise, whose deviation is estimated, from a photo uint8 [H, W, 3].

    Source: Buades, Coll and Morel, A Non-Local Algorithm for Image Denoising, CVPR 2005.
    """
    from skimage.restoration import denoise_nl_means  # an extra, slow to import

    sigma = noise_deviation(image) / 255
    if sigma == 0:
        return image
    quiet = denoise_nl_means(
        np.divide(image, 255, dtype=np.float32),
        patch_size=5,
        patch_distance=6,
        h=0.8 * sigma,
        sigma=sigma,
        channel_axis=-1,
    )
    return np.rint(255 * np.clip(quiet, 0, 1)).astype(np.uint8)


def noise_deviation(image: np.ndarray) -> float:
    """Estimates the standard deviation of the noise in a photo uint8 [H, W, 3], in its units.

    From the median difference of the diagonals of 2 x 2 pixels, on which edges have little effect.
    Source: Donoho and Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, Biometrika 1994.
    """
    x = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2].astype(np.float32)
    diagonal = (x[::2, ::2] - x[::2, 1::2] - x[1::2, ::2] + x[1::2, 1::2]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745) if diagonal.size else 0.0


def denoise_folder(folder: Path, output: Path, workers: int, profile: str = "srgb") -> list[Path]:
    """Writes the missing copies of all images below `folder` to `output`, and returns their paths.

    Args:
        folder: the folder.
        output: where the copies are written.
        workers: number of processes.
        profile: config.data.colour_profile.

    Raises:
        ValueError: if there is no image, if two images have the same copy, or, after all others are
            written, if images cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    paths = sorted(images_below(folder))
    place = real(output)
    paths = [path for path in paths if place not in real(path).parents]
    if not paths:
        raise ValueError(f"{folder} has no image file")
    targets: dict[Path, Path] = {}
    for path in paths:
        target = copy_of(path, folder, output)
        if target in targets:
            raise ValueError(f"{targets[target]} and {path} have the same copy: rename one")
        targets[target] = path
    with one_at_a_time(output.with_name(f".{output.name}.lock"), f"denoises {folder}"):
        return write_missing(targets, workers, profile)


def write_missing(targets: Mapping[Path, Path], workers: int, profile: str) -> list[Path]:
    """Writes the copies {copy: image} that do not exist, and returns them."""
    missing = {target: path for target, path in targets.items() if not target.exists()}
    # Processes, because threads would wait for one another.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn) as pool:
        made = pool.map(partial(write_copy, profile=profile), missing.values(), missing)
        faults = list(tqdm(made, "denoising", len(missing), unit="image", disable=None))
    faults = [fault for fault in faults if fault]
    if faults:
        raise ValueError("\n".join(faults))
    return list(missing)


def write_copy(path: Path, target: Path, profile: str) -> str | None:
    """Writes the denoised copy of `path` as `target`; returns an error message if it cannot."""
    try:
        if read_header(path).transparent:
            rgba = read_rgba(path, profile)
            copy = np.dstack([denoise(rgba[..., :3]), rgba[..., 3]])
        else:
            copy = denoise(read_visible(path, profile))
    except ValueError as error:
        return str(error)
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(target) as file:
        Image.fromarray(copy).save(file, compress_level=1)


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m matting_jax.data.estimated.denoise", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--output", type=Path, help="folder for the copies (FOLDER_denoise)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument(
        "--colour_profile",
        choices=PROFILES,
        default="srgb",
        help="convert colours to sRGB by the files' profiles (srgb), or ignore these, as the code "
        "of published data sets does",
    )
    given = parser.parse_args(argv)
    # FOLDER may be "." or end in "..".
    folder = given.folder.expanduser().resolve()
    output = given.output or copies_folder(folder)
    try:
        import skimage  # noqa: F401

        made = denoise_folder(folder, output, given.workers, given.colour_profile)
    except ModuleNotFoundError:
        print("denoising needs scikit-image: pip install 'matting_jax[denoise]'", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(made)} copies written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
