"""Writes the class of each pixel of photos, for runs that learn given classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.files.images import Photo
from matting_jax.data.labelled import class_ids
from matting_jax.prediction.existing import remaining_jobs
from matting_jax.prediction.inputs import as_float_image
from matting_jax.prediction.jobs import plan_jobs
from matting_jax.prediction.load import load_matter
from matting_jax.prediction.photos import find_photos
from matting_jax.prediction.record import shared_options
from matting_jax.prediction.run import Work, run_jobs
from matting_jax.prediction.shards import Shard
from matting_jax.tasks import find_task


def learns_classes(config: ConfigDict) -> bool:
    """Returns whether a run learns given classes, neither an alpha nor a trimap."""
    return find_task(config.task.name).result(config) == "classes"


def predict_labels(
    config: ConfigDict,
    checkpoint: str | Path,
    photos: str,
    output: Path,
    existing: str,
    shard: Shard,
) -> int:
    """Writes NAME.png, uint8 [H, W], for each photo, by the protocol that scores the network.

    A class has the number that it has in the labels of the run's training data.

    Args:
        config: names the network, its keywords, its task, its protocol and its training data.
        checkpoint: an official file or a workdir.
        photos: a file, a folder or a glob.
        output: the folder of the results, which keeps the subfolders of `photos`.
        existing: "error", "keep" or "overwrite", as in `predict`.
        shard: the share of the photos to predict.

    Returns:
        1 if photos were skipped, else 0.

    Raises:
        ValueError: if the classes have no numbers of 8 bits, or a result would replace its photo.
        OSError: if a result exists, before anything is written, or cannot be written.
    """
    numbers = class_numbers(config)
    root, paths = find_photos(photos, output)
    jobs = plan_jobs(root, paths, {}, output, {"label": ""}, ("label",))
    made = shared_options(config)
    jobs = remaining_jobs(jobs, output, existing, shard, made)
    if not jobs:
        return 0
    matter, task = load_matter(config, checkpoint), find_task(config.task.name)

    def classify(photo: Photo) -> np.ndarray:
        return task.classify(matter, as_float_image(photo.image), config)

    def draw(photo: Photo, classes: np.ndarray) -> dict[str, np.ndarray]:
        return {"label": numbers[classes]}

    work = Work(classify, draw, options=made)
    return run_jobs(jobs, output, work, config.data.colour_profile)


def class_numbers(config: ConfigDict) -> np.ndarray:
    """Returns the number of each class in a label, uint8 [num_classes].

    Raises ValueError if the network has more classes than the labels have numbers.
    """
    classes, ids = config.model.num_classes, class_ids(config)
    if classes > len(ids):
        raise ValueError(
            f"the labels of the training data have {len(ids)} classes, but "
            f"config.model.num_classes is {classes}"
        )
    return np.uint8(ids[:classes])
