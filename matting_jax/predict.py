"""Alphas and cut-outs of photos."""
from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.choices import one_of
from matting_jax.convert import load_checkpoint
from matting_jax.data.images import read_image
from matting_jax.matter import Matter

FOREGROUNDS = ("multilevel", "none")


def predict(
    config: Any,
    checkpoint: str | Path,
    photos: str | None,
    output: str | None,
    *,
    foreground: str = "multilevel",
    overwrite: bool = False,
) -> int:
    """Write NAME_alpha.png and NAME_cutout.png for each photo into the folder `output`.

    `checkpoint`: an official file or a workdir; `photos`: a file, a folder or a glob. The cut-out
    is RGBA with estimated foreground colours ("multilevel"), or left away ("none"). Photos that
    cannot be read are named and passed over. Returns 1 if there were any, else 0. Raises
    FileExistsError before it starts where a result exists and `overwrite` is not given.
    """
    if not photos or not output:
        raise ValueError("--mode predict needs --input FILE|DIR|GLOB and --output DIR")
    one_of(foreground, FOREGROUNDS, "--foreground")
    results = plan(photos, Path(output), foreground, overwrite)
    variables = load_checkpoint(config.name, checkpoint, **config.model)
    matter = Matter(config.name, variables, test_time=config.test_time, **config.model)

    faults = []
    for path, (alpha_path, cutout_path) in tqdm(results.items(), desc="predict", unit="photo", disable=None):
        try:
            photo = read_image(path)
        except ValueError as error:
            faults.append(str(error))
            continue
        alpha = matter(photo)
        alpha_path.parent.mkdir(parents=True, exist_ok=True)
        write_image(alpha_path, np.rint(255 * alpha))
        if foreground == "multilevel":
            write_image(cutout_path, cut_out(photo, alpha))
    print(f"{len(results) - len(faults)} of {len(results)} photos: {output}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


def plan(
    photos: str, output: Path, foreground: str, overwrite: bool
) -> dict[Path, tuple[Path, Path]]:
    """Where the alpha and the cut-out of each photo go; folders below a folder are kept."""
    root, paths = find_photos(photos)
    results, owners = {}, {}
    for path in paths:
        stem = (output / path.relative_to(root)).with_suffix("")
        results[path] = tuple(stem.with_name(f"{stem.name}_{x}.png") for x in ("alpha", "cutout"))
        if stem in owners:
            raise ValueError(f"{owners[stem]} and {path} would write the same files: rename one")
        owners[stem] = path
    wanted = 2 if foreground == "multilevel" else 1
    existing = [str(x) for result in results.values() for x in result[:wanted] if x.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{len(existing)} results exist already, {existing[0]} first: "
            "pass --overwrite to replace them"
        )
    return results


def find_photos(photos: str) -> tuple[Path, list[Path]]:
    """The folder that the photos share, and the photos that a file, folder or glob names."""
    path = Path(photos)
    if path.is_dir():
        known = Image.registered_extensions()
        found = sorted(x for x in path.rglob("*") if x.suffix.lower() in known and x.is_file())
        root = path
    else:
        found = sorted(Path(x) for x in glob.glob(photos, recursive=True) if Path(x).is_file())
        found = [path] if path.is_file() else found
        root = Path(os.path.commonpath([x.parent for x in found])) if found else path
    if not found:
        raise FileNotFoundError(f"--input {photos} names no photo")
    return root, found


def cut_out(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Photo uint8 [H, W, 3] and alpha [H, W] as RGBA [H, W, 4] with the foreground's own colours.

    Multi-level estimation (Germer et al., 2020), so that no old background shows at soft edges.
    """
    from pymatting import estimate_foreground_ml  # compiles for seconds when first imported

    colours = estimate_foreground_ml(photo.astype(np.float32) / 255, alpha)
    return np.rint(255 * np.dstack([colours, alpha]))


def write_image(path: Path, image: np.ndarray) -> None:
    """An image with values 0 to 255 as an 8-bit PNG; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    Image.fromarray(image.astype(np.uint8)).save(partial, format="PNG")
    os.replace(partial, path)
