"""Scores a network on images with known alpha (--mode evaluate)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.data import EvaluationImage, evaluation_images, folder_images
from matting_jax.data.evaluation import names_test_data
from matting_jax.data.sources import part_of
from matting_jax.evaluation.alphas import predictions
from matting_jax.evaluation.counts import count_images, score_counts, score_share
from matting_jax.evaluation.measure import check_output, measure
from matting_jax.evaluation.scores import Case
from matting_jax.evaluation.shares import Shares, identify, measure_share
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
    start, end = shard.range(len(images))
    part = part_of(images, start, end)
    facts = {"config": config.to_dict(), "title": title, "images": len(images)}
    facts |= vars(options) | {"shard": None, "overwrite": None}
    shares = Shares(folder, shard, identify(matter.variables, facts)) if shard.count > 1 else None
    if task.evaluate:
        shown = max(min(config.preview_images, len(images)) - start, 0)
        counted = count_images(task.evaluate, matter, part, config, shown)
        if shares:
            return score_share(task.evaluate, *counted, config, title, shares)
        return score_counts(task.evaluate, *counted, config, folder, title)
    predicted = predictions(matter, part, str(checkpoint or workdir))
    cases = ((start + i, partial(make_case, image, alpha)) for i, image, alpha in predicted)
    if shares:
        arguments = cases, end - start, title, options.convention
        return measure_share(*arguments, save=options.save, shares=shares)
    return measure(cases, end - start, folder, title, options.convention, save=options.save)


def check_options(config: ConfigDict, task: Task, options: Options) -> None:
    """Raises ValueError if the options do not fit the network or its task."""
    one_of(options.convention, CONVENTIONS, "--convention")
    check_folders(config, options.folders, options.trimap_from)
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
