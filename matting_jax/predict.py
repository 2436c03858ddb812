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
from matting_jax.data.images import is_image, read_image
from matting_jax.files import written_whole
from matting_jax.foreground import multilevel
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
    bar = tqdm(results.items(), desc="predict", unit="photo", disable=None)
    for path, (alpha_path, cutout_path) in bar:
        try:
            photo = read_image(path)
        except ValueError as error:
            faults.append(str(error))
            continue
        alpha = np.rint(255 * matter(photo)).astype(np.uint8)
        write_image(alpha_path, alpha)
        if foreground == "multilevel":
            write_image(cutout_path, np.dstack([multilevel(photo, alpha), alpha]))
    print(f"{len(results) - len(faults)} of {len(results)} photos: {output}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


def plan(
    photos: str, output: Path, foreground: str, overwrite: bool
) -> dict[Path, tuple[Path, Path]]:
    """Where the alpha and the cut-out of each photo go; folders below a folder are kept."""
    root, paths = find_photos(photos)
    if output.resolve() != root.resolve():  # what an earlier run left inside is no photo
        paths = [path for path in paths if output.resolve() not in path.resolve().parents]
    results, owners = {}, {}
    for path in paths:
        stem = (output / path.relative_to(root)).with_suffix("")
        results[path] = tuple(stem.with_name(f"{stem.name}_{x}.png") for x in ("alpha", "cutout"))
        if stem in owners:
            raise ValueError(f"{owners[stem]} and {path} would write the same files: rename one")
        owners[stem] = path
    wanted = 2 if foreground == "multilevel" else 1
    written = {x for result in results.values() for x in result}
    results = {path: result for path, result in results.items() if path not in written}
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
        found = sorted(x for x in path.rglob("*") if is_image(x))
        root = path
    else:
        found = sorted(Path(x) for x in glob.glob(photos, recursive=True) if Path(x).is_file())
        found = [path] if path.is_file() else found
        root = Path(os.path.commonpath([x.parent for x in found])) if found else path
    if not found:
        raise FileNotFoundError(f"--input {photos} names no photo")
    return root, found


def write_image(path: Path, image: np.ndarray) -> None:
    """An image uint8 as PNG; the file appears whole or not at all."""
    with written_whole(path) as file:
        Image.fromarray(image).save(file)
