"""The training and test data of a run, with what its task needs of them."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from matting_jax import parallel
from matting_jax.data import EvaluationImage, shown_images, train_source
from matting_jax.data.sources import Source
from matting_jax.tasks.task import Task


def prepare_data(config: ConfigDict, task: Task) -> tuple[Source, Sequence[EvaluationImage]]:
    """Returns the training data and the test images, or photos to show instead of these.

    One process of a job prepares and caches the data, the others find them. Raises ValueError if
    data are missing or cannot be used.
    """
    source = parallel.first_process_first(lambda: task_source(config, task))
    images = parallel.first_process_first(
        lambda: shown_images(config, source, labelled=task.labelled(config))
    )
    return source, images


def task_source(config: ConfigDict, task: Task) -> Source:
    """Returns the training data of `config` in the form that `task` learns from."""
    return train_source(
        config,
        denoised=task.denoised(config),
        labelled=task.labelled(config),
        unlabelled=task.unlabelled,
        planes=task.planes(config),
    )
