"""Reads photos one after another and writes the results of each."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.data.files.images import Photo, count_frames, read_photo, read_visible
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.data.files.values import check_values
from matting_jax.data.files.walk import real
from matting_jax.files import write_atomically
from matting_jax.image.align import align as align_background
from matting_jax.prediction.inputs import size_of

# compute(photo, **inputs), with a Photo, returns the images to write for a photo, by kind.
Compute = Callable[..., dict[str, np.ndarray]]

LONGEST_NAME = 255  # bytes of a file name, on all usual file systems

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Job:
    """A photo, the files of the network's other inputs, and the files to write, by kind."""

    photo: Path
    inputs: Mapping[str, Path]
    results: Mapping[str, Path]


class SkippedPhoto(Exception):
    """A photo that cannot be predicted; the message says why."""


def plan_jobs(
    root: Path,
    paths: Sequence[Path],
    inputs: Mapping[str, Mapping[Path, Path]],
    output: Path,
    suffixes: Mapping[str, str],
    kinds: Sequence[str],
) -> list[Job]:
    """Returns what to do for each photo that has all inputs.

    Results of an earlier run that lie among the photos are not photos.

    Args:
        root: folder that the photos share; subfolders are kept below `output`.
        paths: the photos.
        inputs: {kind: {photo: file}} of the network's other inputs.
        output: folder of the results.
        suffixes: {kind: what follows the photo's name} of all results that this program writes.
        kinds: those to write now.

    Raises:
        ValueError: if two photos would write the same files, or a result would replace its photo.
    """
    stems = {}
    for path in paths:
        if all(path in files for files in inputs.values()):
            stem = (output / path.relative_to(root)).with_suffix("")
            if stem in stems:
                raise ValueError(f"{stems[stem]} and {path} would write the same files: rename one")
            stems[stem] = path
    results = {
        path: {kind: stem.with_name(f"{stem.name}{x}.png") for kind, x in suffixes.items()}
        for stem, path in stems.items()
    }
    for path, files in results.items():
        if real(path) in {real(file) for file in files.values()}:
            raise ValueError(f"the result of {path} would replace it: choose another --output")
    earlier = {real(file) for files in results.values() for file in files.values()}
    return [
        Job(
            path,
            {kind: files[path] for kind, files in inputs.items()},
            {kind: files[kind] for kind in kinds},
        )
        for path, files in results.items()
        if real(path) not in earlier
    ]


def check_existing(jobs: Sequence[Job], overwrite: bool) -> None:
    """Raises FileExistsError if results exist and are not to be replaced."""
    files = [path for job in jobs for path in job.results.values()]
    # Unlike Path.exists, this is False for names that are too long.
    existing = [path for path in files if os.path.exists(path)]
    if existing and not overwrite:
        raise FileExistsError(
            f"{len(existing)} results exist already, {existing[0]} first: "
            "pass --overwrite to replace them"
        )


def run_jobs(
    jobs: Sequence[Job], output: Path, compute: Compute, profile: str, align: bool = False
) -> int:
    """Writes the results of all photos into the folder `output`.

    Photos that cannot be read or do not fit in memory are reported and skipped.

    Args:
        jobs: what to do for each photo.
        output: folder, which is made.
        compute: returns the images of a photo.
        profile: config.data.colour_profile.
        align: align each background with its photo first.

    Returns:
        1 if photos were skipped, else 0.

    Raises:
        OSError: at the first result that cannot be written.
    """
    make_folder(output)
    written, reports = 0, []
    try:
        for job in tqdm(jobs, desc="predict", unit="photo", disable=None):
            try:
                images = process(job, compute, profile, align)
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


def process(job: Job, compute: Compute, profile: str, align: bool) -> dict[str, np.ndarray]:
    """Returns the images to write for one photo, by kind; raises SkippedPhoto if it has none."""
    check_names(job)
    try:
        check_values(job.photo, "photo")
        photo, frames = read_photo(job.photo, profile), count_frames(job.photo)
        inputs = read_inputs(job, photo, profile, align)
    except ValueError as error:
        raise SkippedPhoto(str(error)) from error
    try:
        images = compute(photo, **inputs)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).partition("\n")[0] or "not enough memory"
        raise SkippedPhoto(f"cannot process {job.photo}: {reason}") from error
    except FloatingPointError as error:
        raise SkippedPhoto(f"{job.photo}: {error}") from error
    if frames > 1:
        logger.info("%s: only the first of %d frames is used", job.photo, frames)
    return images


def check_names(job: Job) -> None:
    """Raises SkippedPhoto if the name of a result is longer than file systems allow."""
    for path in job.results.values():
        if (length := len(os.fsencode(path.name))) > LONGEST_NAME:
            raise SkippedPhoto(
                f"cannot write the results of {job.photo}: the name of one would have {length} "
                f"bytes, and at most {LONGEST_NAME} are possible: rename the photo"
            )


def read_inputs(job: Job, photo: Photo, profile: str, align: bool) -> dict[str, np.ndarray]:
    """Reads the other inputs of a photo; raises ValueError for a file that does not fit it."""
    inputs = {}
    if "trimap" in job.inputs:
        inputs["trimap"] = read_trimap(job.inputs["trimap"])
    if "background" in job.inputs:
        inputs["background"] = read_visible(job.inputs["background"], profile)
    if align:
        try:
            inputs["background"] = align_background(inputs["background"], photo.image)
        except ValueError as error:
            raise ValueError(
                f"{job.inputs['background']} cannot be aligned with {job.photo}: {error}; pass "
                "another background, or omit --align if the camera stood still"
            ) from error
    for kind, image in inputs.items():
        if image.shape[:2] != photo.image.shape[:2]:
            raise ValueError(
                f"{job.inputs[kind]}: {size_of(image)} pixels, but {job.photo} has "
                f"{size_of(photo.image)}"
            )
    if "trimap" in job.inputs:
        warning = check_values(job.inputs["trimap"], "trimap", predicting=True)
        if warning:
            logger.warning("%s: %s", job.inputs["trimap"], warning)
    return inputs


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
