"""Reads photos, predicts and writes their results, each while the others are in progress."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.data.files.images import Photo, count_frames, read_photo, read_visible
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.data.files.values import check_values
from matting_jax.files import file_above, no_room, write_atomically
from matting_jax.image.align import align as align_background
from matting_jax.overlap import cores, overlap_batches
from matting_jax.prediction.batches import Batch, batch_groups, batches_at_a_time, largest_batch
from matting_jax.prediction.inputs import size_of
from matting_jax.prediction.jobs import Job, ListPrograms, compile_ahead, group_jobs
from matting_jax.prediction.record import append_line
from matting_jax.prediction.together import compute_batch

logger = logging.getLogger("matting_jax")


LONGEST_NAME = 255  # bytes of a file name, on all usual file systems


class Work(NamedTuple):
    """Holds the functions that are applied to each photo.

    Attributes:
        predict: predict(photo, **inputs), with a Photo, runs the network.
        draw: draw(photo, prediction) returns the images to write by kind; called in threads.
        list_programs: returns the programs that a photo of a size needs.
        options: those that change the results, for the record.
    """

    predict: Callable[..., Any]
    draw: Callable[[Photo, Any], dict[str, np.ndarray]]
    list_programs: ListPrograms = lambda height, width: ()
    options: Mapping[str, Any] | None = None


class SkippedPhoto(Exception):
    """A photo that cannot be predicted; the message says why."""


class Seconds:
    """Adds up the time that is spent on each photo by all stages.

    Attributes:
        spent: seconds by photo.
    """

    def __init__(self):
        self.spent: dict[Path, float] = defaultdict(float)

    def measure(self, stage: Callable[..., Any], photos: int = 1) -> Callable[..., Any]:
        """Returns `stage(job, ...)`, whose time counts for the photo of the job.

        Of a stage that computes several `photos` at a time each has its share.
        """

        def measured(job: Job, *arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return stage(job, *arguments)
            finally:
                self.spent[job.photo] += (time.perf_counter() - start) / photos

        return measured


def run_jobs(
    jobs: Sequence[Job], output: Path, work: Work, profile: str, align: bool = False
) -> int:
    """Writes the results of all photos into the folder `output`.

    Photos of one network size follow one another. Those that cannot be read or do not fit in memory
    are skipped and reported in the order of `jobs`. predictions.jsonl gets a line for each.

    Args:
        jobs: the files of each photo.
        output: folder, which is made.
        work: what is done with each photo.
        profile: config.data.colour_profile.
        align: align each background with its photo first.

    Returns:
        1 if photos were skipped, else 0.

    Raises:
        OSError: at the first result that cannot be written.
    """
    make_folder(output)
    written, reports, seconds = 0, {}, Seconds()
    load = partial(read_job, profile=profile, align=align)
    stages = (
        seconds.measure(load),
        partial(predict_batch, work, seconds),
        seconds.measure(partial(draw_job, work)),
    )
    groups = batch_groups(group_jobs(jobs, work.list_programs), lambda job: job.photo)
    readers = min(largest_batch(groups), cores())
    try:
        with ExitStack() as stack:
            ordered = stack.enter_context(
                closing(compile_ahead(groups, unfinished=batches_at_a_time()))
            )
            results = stack.enter_context(
                closing(
                    overlap_batches(ordered, *stages, count_pixels, readers, batches_at_a_time())
                )
            )
            for job, result in tqdm(results, "predict", len(jobs), unit="photo", disable=None):
                try:
                    files = result.result()
                except SkippedPhoto as error:
                    reports[job.photo] = str(error)
                else:
                    write_files(files)
                    written += 1
                fault = reports.get(job.photo)
                made = None if fault else work.options
                append_line(output, job.photo, seconds.spent[job.photo], fault, made)
    finally:
        print(f"{written} of {len(jobs)} photos: {output}")
        for job in jobs:
            if job.photo in reports:
                print(reports[job.photo], file=sys.stderr)
    return int(bool(reports))


def read_job(job: Job, profile: str, align: bool) -> tuple[Photo, dict[str, np.ndarray]]:
    """Reads a photo and the network's other inputs; raises SkippedPhoto if that fails."""
    check_names(job)
    try:
        check_values(job.photo, "photo")
        photo, frames = read_photo(job.photo, profile), count_frames(job.photo)
        inputs = read_inputs(job, photo, profile, align)
    except ValueError as error:
        raise SkippedPhoto(str(error)) from error
    if frames > 1:
        logger.info("%s: only the first of %d frames is used", job.photo, frames)
    return photo, inputs


def check_names(job: Job) -> None:
    """Raises SkippedPhoto if the name of a result is longer than file systems allow."""
    for path in job.results.values():
        if (length := len(os.fsencode(path.name))) > LONGEST_NAME:
            raise SkippedPhoto(
                f"cannot write the results of {job.photo}: the name of one would have {length} "
                f"bytes, and at most {LONGEST_NAME} are possible: rename the photo"
            )


def predict_batch(
    work: Work, seconds: Seconds, batch: Batch, loaded: Sequence[Future]
) -> list[Future]:
    """Predicts photos that pass through the network together.

    Args:
        work: what is done with each photo.
        seconds: gets the time of each photo.
        batch: the photos.
        loaded: what `read_job` returns for each of them, in progress.

    Returns:
        What `predict_job` returns for each of them, as futures.
    """
    predict = seconds.measure(partial(predict_job, work), len(batch))
    return compute_batch(predict, batch, loaded)


def predict_job(work: Work, job: Job, read: tuple[Photo, Mapping[str, np.ndarray]]) -> tuple:
    """Returns a photo and its prediction; raises SkippedPhoto if it has none."""
    photo, inputs = read
    with skipping(job):
        return photo, work.predict(photo, **inputs)


def draw_job(work: Work, job: Job, predicted: tuple[Photo, Any]) -> dict[Path, bytes]:
    """Returns the files to write for a photo; raises SkippedPhoto if it has none."""
    with skipping(job):
        images = work.draw(*predicted)
        return {job.results[kind]: encode(image) for kind, image in images.items()}


def count_pixels(predicted: tuple[Photo, Any]) -> int:
    """Returns the number of pixels of a photo."""
    return predicted[0].image[..., 0].size


@contextmanager
def skipping(job: Job) -> Iterator[None]:
    """Turns errors that concern one photo into SkippedPhoto."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).partition("\n")[0] or "not enough memory"
        raise SkippedPhoto(f"cannot process {job.photo}: {reason}") from error
    except FloatingPointError as error:
        raise SkippedPhoto(f"{job.photo}: {error}") from error


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
        file = file_above(path / "result")
        reason = no_room(error) or (f"{file} is a file" if file else error.strerror)
        raise OSError(f"--output {path} cannot be a folder: {reason}") from error


def encode(image: np.ndarray) -> bytes:
    """Returns a uint8 or grey uint16 image as a PNG file.

    Level 1 takes a quarter of the time of Pillow's default 6. With run lengths its files are a
    tenth to a fifth smaller than without, about as large as those of level 6.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return file.getvalue()


def write_files(files: Mapping[Path, bytes]) -> None:
    """Writes the files of one photo, all of them atomically; raises WriteError if that fails."""
    with ExitStack() as stack:
        for path, content in files.items():
            stack.enter_context(write_atomically(path)).write_bytes(content)
