"""Alphas and cut-outs of photos."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.choices import one_of
from matting_jax.data.files.images import count_frames, is_image, read_image
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.files import write_atomically
from matting_jax.image.align import align as align_background
from matting_jax.image.foreground import METHODS
from matting_jax.models import create_model, find_network, input_names
from matting_jax.prediction.companions import find_companions
from matting_jax.prediction.inputs import size_of
from matting_jax.prediction.load import load_matter

FOREGROUNDS = (*METHODS, "none")
BITS = {"8": np.uint8, "16": np.uint16}
READERS = {"trimap": read_trimap, "background": read_image}

logger = logging.getLogger("matting_jax")


def predict(
    config: Any,
    checkpoint: str | Path,
    photos: str | None,
    output: str | None,
    *,
    trimap: str | None = None,
    background: str | None = None,
    align: bool = False,
    trimap_from: str | None = None,
    trimap_rule: Mapping[str, Any] | None = None,
    foreground: str = "multilevel",
    bits: int = 8,
    overwrite: bool = False,
) -> int:
    """Write NAME_alpha.png and NAME_cutout.png for each photo into the folder `output`.

    `checkpoint`: an official file or a workdir; `photos`: a file, a folder or a glob; `trimap` and
    `background`: for networks that need one, a file or a folder (see `companions`). In place of
    `trimap` the network of the workdir `trimap_from` makes it, by its rule with the fields of
    `trimap_rule` in place of its own. With `align` backgrounds are moved to where the photo's
    camera saw them. The alpha is grey with 8 or 16 `bits`. The cut-out is RGBA, always of 8 bits,
    with foreground colours that "multilevel" or "blur" estimates, or left away ("none"). Photos
    that cannot be read, or that memory does not suffice for, are named and passed over.

    Returns 1 if there were any, else 0. Raises FileExistsError before it starts where a result
    exists and `overwrite` is not given, and OSError at the first result that cannot be written.
    """
    if not photos or not output:
        raise ValueError("--mode predict needs --input FILE|DIR|GLOB and --output DIR")
    if find_network(config.name).output != "alpha":
        raise ValueError(
            f"{config.name} makes no alpha but tells classes apart: predict with a network that "
            "takes a trimap, and give this one's run by --trimap_from WORKDIR; or have the "
            f'probability of each class from mj.Matter("{config.name}", ...)'
        )
    one_of(foreground, FOREGROUNDS, "--foreground")
    one_of(str(bits), BITS, "--bits")
    root, paths = find_photos(photos, Path(output))
    if trimap and trimap_from:
        raise ValueError("give one of --trimap and --trimap_from: both are trimaps")
    given = {"background": background} | ({} if trimap_from else {"trimap": trimap})
    beside = find_beside(config, root, paths, given)
    if align and "background" not in beside:
        raise ValueError(f"{config.name} takes no background: leave out --align")
    paths = [path for path in paths if all(path in files for files in beside.values())]
    results = plan(root, paths, Path(output), foreground, overwrite)
    matter = load_matter(config, checkpoint, trimap_from=trimap_from, trimap_rule=trimap_rule)
    make_folder(Path(output))

    written, faults = 0, []
    try:
        for path, targets in tqdm(results.items(), desc="predict", unit="photo", disable=None):
            try:
                photo, frames = read_image(path), count_frames(path)
                given = {kind: READERS[kind](files[path]) for kind, files in beside.items()}
                if align:
                    given["background"] = aligned(photo, given["background"], path, beside)
                check_sizes(photo, given, path, beside)
            except ValueError as error:
                faults.append(str(error))
                continue
            try:
                images = alpha_and_cutout(photo, matter(photo, **given), foreground, bits)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                reason = str(error).partition("\n")[0] or "the memory does not suffice"
                faults.append(f"Cannot process {path}: {reason}")
                continue
            if frames > 1:
                logger.info("%s: the first of %d frames is taken", path, frames)
            write_images(dict(zip(targets, images, strict=False)))
            written += 1
    finally:
        print(f"{written} of {len(results)} photos: {output}")
        for fault in faults:
            print(fault, file=sys.stderr)
    return int(bool(faults))


def alpha_and_cutout(
    photo: np.ndarray, alpha: np.ndarray, foreground: str, bits: int
) -> list[np.ndarray]:
    """What is written of a photo uint8 [H, W, 3] with alpha float32 [H, W] in [0, 1].

    The alpha as uint8 or uint16 [H, W], and unless `foreground` is "none" uint8 [H, W, 4].
    """
    images = [quantise(alpha, bits)]
    if foreground != "none":
        alpha = quantise(alpha, 8)
        images.append(np.dstack([METHODS[foreground](photo, alpha), alpha]))
    return images


def quantise(alpha: np.ndarray, bits: int) -> np.ndarray:
    """Alpha in [0, 1] as the nearest of the whole numbers of 8 or 16 bits."""
    return np.rint((2**bits - 1) * alpha).astype(BITS[str(bits)])


def plan(
    root: Path, paths: Sequence[Path], output: Path, foreground: str, overwrite: bool
) -> dict[Path, tuple[Path, Path]]:
    """Where the alpha and the cut-out of each photo go; folders below `root` are kept."""
    results, owners = {}, {}
    for path in paths:
        stem = (output / path.relative_to(root)).with_suffix("")
        results[path] = tuple(stem.with_name(f"{stem.name}_{x}.png") for x in ("alpha", "cutout"))
        if stem in owners:
            raise ValueError(f"{owners[stem]} and {path} would write the same files: rename one")
        owners[stem] = path
    wanted = 1 if foreground == "none" else 2
    written = {x.resolve() for result in results.values() for x in result}
    results = {path: result for path, result in results.items() if path.resolve() not in written}
    existing = [str(x) for result in results.values() for x in result[:wanted] if x.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{len(existing)} results exist already, {existing[0]} first: "
            "pass --overwrite to replace them"
        )
    return results


def find_beside(
    config: Any, root: Path, paths: Sequence[Path], given: Mapping[str, str | None]
) -> dict[str, dict[Path, Path]]:
    """{kind: {photo: file}} of what the network needs beside the photos, by the flags `given`."""
    needs = input_names(create_model(config.name, **config.model))
    for kind, value in given.items():
        if value and kind not in needs:
            raise ValueError(f"{config.name} takes no {kind}: leave out --{kind}")
    needed = {kind: value for kind, value in given.items() if kind in needs}
    return {kind: find_companions(paths, root, kind, value) for kind, value in needed.items()}


def aligned(
    photo: np.ndarray,
    background: np.ndarray,
    path: Path,
    beside: Mapping[str, Mapping[Path, Path]],
) -> np.ndarray:
    """The background as the photo's camera saw it; ValueError, naming both, where they differ."""
    try:
        return align_background(background, photo)
    except ValueError as error:
        raise ValueError(
            f"{beside['background'][path]} cannot be aligned with {path}: {error}; give another "
            "background, or leave out --align if the camera stood still"
        ) from error


def check_sizes(
    photo: np.ndarray,
    given: Mapping[str, np.ndarray],
    path: Path,
    beside: Mapping[str, Mapping[Path, Path]],
) -> None:
    """ValueError, naming the files, where what is given beside a photo has not its size."""
    for kind, image in given.items():
        if image.shape[:2] != photo.shape[:2]:
            raise ValueError(
                f"{beside[kind][path]}: {size_of(image)} pixels, but {path} has {size_of(photo)}"
            )


def find_photos(photos: str, output: Path) -> tuple[Path, list[Path]]:
    """The folder that the photos share, and the photos that a file, folder or glob names.

    What an earlier run left in `output` is no photo. FileNotFoundError where there are none.
    """
    path = Path(photos)
    if path.is_dir():
        found = sorted(x for x in path.rglob("*") if is_image(x))
        root = path
    else:
        found = sorted(Path(x) for x in glob.glob(photos, recursive=True) if Path(x).is_file())
        found = [path] if path.is_file() else found
        root = Path(os.path.commonpath([x.parent for x in found])) if found else path
    if root.resolve() in output.resolve().parents:
        found = [path for path in found if output.resolve() not in path.resolve().parents]
    if not found:
        raise FileNotFoundError(f"--input {photos} names no photo")
    return root, found


def make_folder(path: Path) -> None:
    """Make the folder unless it exists; an OSError says in words why there can be none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output {path} cannot be a folder: {error.strerror}") from error


def write_images(images: Mapping[Path, np.ndarray]) -> None:
    """Images uint8 or grey uint16 as PNG; the files appear all and whole, or not at all."""
    try:
        with ExitStack() as stack:
            for path, image in images.items():
                file = stack.enter_context(write_atomically(path))
                # Level 1 takes a fifth of the time of Pillow's 6, for files larger by a fifth.
                Image.fromarray(image).save(file, compress_level=1)
    except OSError as error:
        names = " and ".join(map(str, images))
        raise OSError(f"cannot write {names}: {error.strerror or error}") from error
