"""Writes the alpha and the cut-out of photos (--mode predict)."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from tqdm import tqdm

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.data.files.images import count_frames, is_image, read_image
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.files import write_atomically
from matting_jax.image.align import align as align_background
from matting_jax.image.foreground import METHODS
from matting_jax.models import find_network
from matting_jax.prediction.companions import WAYS, find_companions
from matting_jax.prediction.inputs import size_of
from matting_jax.prediction.load import list_inputs, load_matter
from matting_jax.prediction.matter import Matter

FOREGROUNDS = ("network", *METHODS, "none")
BITS = {"8": np.uint8, "16": np.uint16}
READERS = {"trimap": read_trimap, "background": read_image}

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Job:
    """A photo, the files of the network's other inputs, and the files to write, by kind."""

    photo: Path
    inputs: Mapping[str, Path]
    results: Mapping[str, Path]


class SkippedPhoto(Exception):
    """A photo that cannot be predicted; the message says why."""


@dataclass(frozen=True)
class Options:
    """Options of `predict`, named as the flags of the command line.

    Attributes:
        trimap: A file, or a folder of files with the photos' names.
        background: The same.
        align: Align each background with its photo first.
        trimap_from: Workdir of a network that makes the trimaps.
        trimap_rule: Fields of that network's rule to replace.
        foreground: Where the cut-out's foreground colours come from: "network", the default if it
            predicts them, a method that estimates them, or "none" for no cut-out.
        bits: 8 or 16, of the alpha; cut-outs are RGBA with 8.
        overwrite: Replace existing results.
    """

    trimap: str | None = None
    background: str | None = None
    align: bool = False
    trimap_from: str | None = None
    trimap_rule: Mapping[str, Any] | None = None
    foreground: str | None = None
    bits: int = 8
    overwrite: bool = False


DEFAULTS = Options()


def predict(
    config: ConfigDict,
    checkpoint: str | Path,
    photos: str,
    output: str,
    options: Options = DEFAULTS,
) -> int:
    """Writes NAME_alpha.png and NAME_cutout.png for each photo into the folder `output`.

    Photos that cannot be read or do not fit in memory are reported and skipped.

    Args:
        config: Names the network, its keywords and the options of its test-time rule.
        checkpoint: An official file or a workdir.
        photos: A file, a folder or a glob.
        output: The folder of the results, which keeps the subfolders of `photos`.
        options: What the command line's flags say.

    Returns:
        1 if photos were skipped, else 0.

    Raises:
        ValueError: If the arguments do not fit the network or one another.
        OSError: If a result exists, before anything is written, or cannot be written.
    """
    options = check_options(config, options)
    jobs = find_jobs(config, photos, Path(output), options)
    check_existing(jobs, options.overwrite)
    matter = load_matter(
        config, checkpoint, trimap_from=options.trimap_from, trimap_rule=options.trimap_rule
    )
    make_folder(Path(output))
    return run_jobs(jobs, matter, options, output)


def run_jobs(jobs: Sequence[Job], matter: Matter, options: Options, output: str) -> int:
    """Predicts and writes each photo; returns 1 if photos were skipped, else 0.

    Reports how many were written, and those that were skipped, whatever ends the loop.
    """
    written, reports = 0, []
    try:
        for job in tqdm(jobs, desc="predict", unit="photo", disable=None):
            try:
                images = process(job, matter, options)
            except SkippedPhoto as error:
                reports.append(str(error))
                continue
            write_images({job.results[kind]: image for kind, image in images.items()})
            written += 1
    finally:
        print(f"{written} of {len(jobs)} photos: {output}")
        for line in reports:
            print(line, file=sys.stderr)
    return int(bool(reports))


def check_options(config: ConfigDict, options: Options) -> Options:
    """Returns the options with `foreground` chosen; raises ValueError if they do not fit."""
    options = replace(options, foreground=choose_foreground(options.foreground, config.name))
    one_of(str(options.bits), BITS, "--bits")
    check_output(config)
    if options.trimap and options.trimap_from:
        raise ValueError("give one of --trimap and --trimap_from: both are trimaps")
    return options


def find_jobs(config: ConfigDict, photos: str, output: Path, options: Options) -> list[Job]:
    """Returns what to do for each photo, with the files of the network's other inputs."""
    root, paths = find_photos(photos, output)
    given = {"background": options.background}
    if not options.trimap_from:
        given["trimap"] = options.trimap
    inputs = find_inputs(config, root, paths, given)
    if options.align:
        refuse_input("background", inputs, config.name, "--align")
    return plan_jobs(root, paths, inputs, output, options.foreground)


def check_output(config: ConfigDict) -> None:
    """Raises ValueError if the network predicts no alpha."""
    if find_network(config.name).output != "alpha":
        raise ValueError(
            f"{config.name} predicts classes, not an alpha: predict with a network that takes a "
            "trimap, and pass this one's run as --trimap_from WORKDIR; or get class probabilities "
            f'from mj.Matter("{config.name}", ...)'
        )


def choose_foreground(foreground: str | None, name: str) -> str:
    """Returns where the foreground colours come from, by default for the network `name`.

    Raises ValueError for an unknown choice, and for "network" if it predicts no such colours.
    """
    predicts = find_network(name).foreground is not None
    if foreground is None:
        return "network" if predicts else "multilevel"
    if one_of(foreground, FOREGROUNDS, "--foreground") == "network" and not predicts:
        raise ValueError(
            f"{name} predicts no foreground colours: pass --foreground multilevel or blur to "
            "estimate them, or none for no cut-out"
        )
    return foreground


def process(job: Job, matter: Matter, options: Options) -> dict[str, np.ndarray]:
    """Returns the images to write for one photo, by kind; raises SkippedPhoto if it has none."""
    try:
        photo, frames = read_image(job.photo), count_frames(job.photo)
        inputs = read_inputs(job, photo, options.align)
    except ValueError as error:
        raise SkippedPhoto(str(error)) from error
    try:
        if options.foreground == "network":
            alpha, colours = matter.cut_out(photo, **inputs)
        else:
            alpha, colours = matter(photo, **inputs), None
        images = alpha_and_cutout(photo, alpha, colours, options.foreground, options.bits)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).partition("\n")[0] or "not enough memory"
        raise SkippedPhoto(f"cannot process {job.photo}: {reason}") from error
    if frames > 1:
        logger.info("%s: only the first of %d frames is used", job.photo, frames)
    return images


def read_inputs(job: Job, photo: np.ndarray, align: bool) -> dict[str, np.ndarray]:
    """Reads the other inputs of a photo; raises ValueError for a file that does not fit it."""
    inputs = {kind: READERS[kind](path) for kind, path in job.inputs.items()}
    if align:
        try:
            inputs["background"] = align_background(inputs["background"], photo)
        except ValueError as error:
            raise ValueError(
                f"{job.inputs['background']} cannot be aligned with {job.photo}: {error}; pass "
                "another background, or omit --align if the camera stood still"
            ) from error
    for kind, image in inputs.items():
        if image.shape[:2] != photo.shape[:2]:
            raise ValueError(
                f"{job.inputs[kind]}: {size_of(image)} pixels, but {job.photo} has {size_of(photo)}"
            )
    return inputs


def alpha_and_cutout(
    photo: np.ndarray,
    alpha: np.ndarray,
    colours: np.ndarray | None,
    foreground: str,
    bits: int,
) -> dict[str, np.ndarray]:
    """Returns the images to write for a photo.

    Args:
        photo: uint8 [H, W, 3].
        alpha: float32 [H, W] in [0, 1].
        colours: float32 [H, W, 3] in [0, 1], the network's foreground colours for "network".
        foreground: one of FOREGROUNDS; "none" for no cut-out.
        bits: 8 or 16.

    Returns:
        `alpha`, uint8 or uint16 [H, W], and `cutout`, uint8 [H, W, 4].
    """
    images = {"alpha": quantise(alpha, bits)}
    if foreground == "none":
        return images
    alpha = quantise(alpha, 8)
    if foreground == "network":
        # Where alpha is 0 there is no foreground, and the network leaves the background.
        colours = np.where(alpha[..., None] > 0, quantise(colours, 8), 0)
    else:
        colours = METHODS[foreground](photo, alpha)
    return images | {"cutout": np.dstack([colours.astype(np.uint8), alpha])}


def quantise(image: np.ndarray, bits: int) -> np.ndarray:
    """Rounds values in [0, 1] to integers of 8 or 16 bits."""
    return np.rint((2**bits - 1) * image).astype(BITS[str(bits)])


def plan_jobs(
    root: Path,
    paths: Sequence[Path],
    inputs: Mapping[str, Mapping[Path, Path]],
    output: Path,
    foreground: str,
) -> list[Job]:
    """Returns what to do for each photo that has all inputs.

    Results of an earlier run that lie among the photos are not photos.

    Args:
        root: folder that the photos share; subfolders are kept below `output`.
        paths: the photos.
        inputs: {kind: {photo: file}} of the network's other inputs.
        output: folder of the results.
        foreground: "none" writes no cut-outs.

    Raises:
        ValueError: if two photos would write the same files.
    """
    stems = {}
    for path in paths:
        if all(path in files for files in inputs.values()):
            stem = (output / path.relative_to(root)).with_suffix("")
            if stem in stems:
                raise ValueError(f"{stems[stem]} and {path} would write the same files: rename one")
            stems[stem] = path
    results = {
        path: {kind: stem.with_name(f"{stem.name}_{kind}.png") for kind in ("alpha", "cutout")}
        for stem, path in stems.items()
    }
    earlier = {file.resolve() for files in results.values() for file in files.values()}
    kinds = ("alpha",) if foreground == "none" else ("alpha", "cutout")
    return [
        Job(
            path,
            {kind: files[path] for kind, files in inputs.items()},
            {kind: files[kind] for kind in kinds},
        )
        for path, files in results.items()
        if path.resolve() not in earlier
    ]


def check_existing(jobs: Sequence[Job], overwrite: bool) -> None:
    """Raises FileExistsError if results exist and are not to be replaced."""
    existing = [path for job in jobs for path in job.results.values() if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{len(existing)} results exist already, {existing[0]} first: "
            "pass --overwrite to replace them"
        )


def find_inputs(
    config: ConfigDict, root: Path, paths: Sequence[Path], given: Mapping[str, str | None]
) -> dict[str, dict[Path, Path]]:
    """Returns the files of the network's other inputs.

    Args:
        config: names the network and its keywords.
        root: folder that the photos share.
        paths: the photos.
        given: {kind: file or folder} of the command line.

    Returns:
        {kind: {photo: file}}.

    Raises:
        ValueError: if an input is missing, or given though the network does not take it.
    """
    taken = list_inputs(config)
    for kind, value in given.items():
        if value:
            refuse_input(kind, taken, config.name, f"--{kind}")
    needed = {kind: value for kind, value in given.items() if kind in taken}
    for kind in needed:
        require_input(
            kind,
            [x for x in needed if needed[x]],
            config.name,
            f"pass --{kind} FILE|DIR, {WAYS[kind]}",
        )
    return {kind: find_companions(paths, root, kind, path) for kind, path in needed.items()}


def find_photos(photos: str, output: Path) -> tuple[Path, list[Path]]:
    """Returns the folder that the photos of a file, folder or glob share, and the photos.

    Files below `output` are results of an earlier run and skipped. Raises FileNotFoundError if
    there is no photo.
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
        raise FileNotFoundError(f"--input {photos}: no photo found")
    return root, found


def make_folder(path: Path) -> None:
    """Creates a folder unless it exists; raises OSError with the reason if it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output {path} cannot be a folder: {error.strerror}") from error


def write_images(images: Mapping[Path, np.ndarray]) -> None:
    """Writes uint8 or grey uint16 images as PNG files, all of them atomically."""
    try:
        with ExitStack() as stack:
            for path, image in images.items():
                file = stack.enter_context(write_atomically(path))
                # Level 1 takes a fifth of the time of Pillow's default 6, for files 20 % larger.
                Image.fromarray(image).save(file, compress_level=1)
    except OSError as error:
        names = " and ".join(map(str, images))
        raise OSError(f"cannot write {names}: {error.strerror or error}") from error
