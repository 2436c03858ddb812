"""Scores a network on images with known alpha (--mode evaluate)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.data import EvaluationImage, evaluation_images, folder_images
from matting_jax.data.evaluation import names_test_data
from matting_jax.data.sources import part_of
from matting_jax.evaluation import previews
from matting_jax.evaluation.alphas import predictions
from matting_jax.evaluation.measure import check_output, measure
from matting_jax.evaluation.scores import Case, write_csv
from matting_jax.evaluation.shares import identify, measure_share
from matting_jax.files import write_folder_atomically
from matting_jax.metrics.conventions import CONVENTIONS
from matting_jax.prediction.inputs import as_float_trimap
from matting_jax.prediction.load import list_inputs, load_matter
from matting_jax.prediction.shards import find_shard
from matting_jax.tasks import find_task
from matting_jax.tasks.task import Task


@dataclass(frozen=True)
class Options:
    """Options of `evaluate`, named as the flags of the command line.

    Attributes:
        folders: photos, truths and what else the network takes, instead of the test data.
        trimap_from: workdir of a network that makes the trimaps; those of the test data then only
            define the unknown region of the scores.
        trimap_rule: fields of that network's rule to replace.
        convention: definition of the metrics, a key of CONVENTIONS.
        save: write the alphas as well.
        overwrite: replace an earlier evaluation.
        shard: "INDEX/COUNT", the share of the images to score; the last share writes the report.
        size_step: multiple to which both sides of a photo are padded, see `Matter`.
    """

    folders: Mapping[str, str] = field(default_factory=dict)
    trimap_from: str | None = None
    trimap_rule: Mapping[str, Any] | None = None
    convention: str = "matlab"
    save: bool = False
    overwrite: bool = False
    shard: str | None = None
    size_step: int = 0


DEFAULTS = Options()


def evaluate(
    config: ConfigDict,
    workdir: Path,
    checkpoint: str | None = None,
    output: str | None = None,
    options: Options = DEFAULTS,
) -> dict[str, float]:
    """Scores a network on its test data or on folders, and returns the mean scores.

    Args:
        config: names the network, its keywords, its task and the test data.
        workdir: the run whose best checkpoint is scored.
        checkpoint: an official file or another workdir to score instead.
        output: folder of the results; default: WORKDIR/evaluation/NAME.
        options: what the command line's flags say.

    Raises:
        ValueError: if the arguments do not fit the network or one another.
        FileExistsError: if something would be overwritten, before anything is measured.
    """
    shard = find_shard(options.shard)
    folder = Path(output) if output else default_output(workdir, checkpoint)
    check_output(folder, options.overwrite)
    task = find_task(config.task.name)
    check_options(config, task, options)
    images = find_images(config, task, options.folders)
    matter = load_matter(
        config,
        checkpoint or workdir,
        trimap_from=options.trimap_from,
        trimap_rule=options.trimap_rule,
        size_step=options.size_step,
    )
    title = f"{config.name}, {checkpoint or f'best checkpoint of {workdir}'}"
    if task.evaluate:
        if jax.process_index():
            return {}  # the first process of the job scores all images
        scores, pictures = task.evaluate(matter, images, config, config.preview_images)
        return write_scores(scores, pictures, folder, title)
    start, end = shard.range(len(images))
    predicted = predictions(matter, part_of(images, start, end), str(checkpoint or workdir))
    cases = ((start + i, partial(make_case, image, alpha)) for i, image, alpha in predicted)
    arguments = cases, end - start, folder, title, options.convention
    if shard.count == 1:
        return measure(*arguments, save=options.save)
    facts = {"config": config.to_dict(), "title": title, "images": len(images)}
    identity = identify(
        matter.variables, facts | vars(options) | {"shard": None, "overwrite": None}
    )
    return measure_share(*arguments, save=options.save, shard=shard, identity=identity)


def check_options(config: ConfigDict, task: Task, options: Options) -> None:
    """Raises ValueError if the options do not fit the network or its task."""
    one_of(options.convention, CONVENTIONS, "--convention")
    check_folders(config, options.folders, options.trimap_from)
    if options.shard and task.evaluate:
        raise ValueError(f"--shard is for alphas, but {config.name} predicts classes: omit it")
    if options.save and task.evaluate:
        raise ValueError(f"--save writes alphas, but {config.name} predicts none: omit it")


def find_images(
    config: ConfigDict, task: Task, folders: Mapping[str, str]
) -> Sequence[EvaluationImage]:
    """Returns the images of `folders` if there are any, else the test data of the config."""
    if folders:
        return folder_images(**folders, profile=config.data.colour_profile)
    if not names_test_data(config):
        raise ValueError(
            f"there are no test data for {config.name}: give --photos DIR and --truths DIR, or the "
            "folder --config.data.test.images=DIR, the list --config.data.test.list=FILE or the "
            "data set --config.data.test.dataset=NAME"
        )
    return evaluation_images(config, labelled=task.labelled(config))


def write_scores(
    scores: dict[str, float], pictures: Sequence[Mapping[str, np.ndarray]], folder: Path, title: str
) -> dict[str, float]:
    """Writes and prints the scores of a task with its own.

    Args:
        scores: mean scores by name, which are returned.
        pictures: pictures by name of some images, for preview.png.
        folder: where scores.csv and preview.png are written.
        title: name of the network and its checkpoint.
    """
    with write_folder_atomically(folder) as temporary:
        write_csv(temporary / "scores.csv", [{"name": title, **scores}])
        if pictures:
            Image.fromarray(previews.draw_grid(pictures)).save(temporary / "preview.png")
    print(title, *(f"{name} {value:.4f}" for name, value in scores.items()), sep="\n")
    return scores


def make_case(image: EvaluationImage, alpha: np.ndarray) -> Case:
    """Returns an image with its predicted alpha [H, W] as `measure` takes it."""
    return Case(
        image.name,
        alpha,
        np.divide(image.alpha, 255, dtype=np.float32),
        None if image.trimap is None else as_float_trimap(image.trimap)[..., 0],
        image.image,
    )


def default_output(workdir: Path, checkpoint: str | None) -> Path:
    """Returns the folder of the results in a workdir, named after the checkpoint."""
    is_own = not checkpoint or Path(checkpoint) == workdir
    # The name of a published file has a colon, which not all file systems take.
    name = "best" if is_own else Path(checkpoint).stem.replace(":", "_")
    return workdir / "evaluation" / name


def check_folders(config: ConfigDict, folders: Mapping[str, str], trimap_from: str | None) -> None:
    """Raises ValueError if folders given in place of the test data do not fit the network."""
    taken = list_inputs(config)
    if "backgrounds" in folders:
        refuse_input("background", taken, config.name, "--backgrounds")
    given = [kind.removesuffix("s") for kind in folders] + ["trimap"] * bool(trimap_from)
    for kind in taken if folders else ():
        chain = " or --trimap_from WORKDIR, whose network makes them" if kind == "trimap" else ""
        require_input(kind, given, config.name, f"pass --{kind}s DIR{chain}")
