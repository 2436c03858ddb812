"""Loads the network of a config with its weights and its test-time rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from matting_jax.caches import cache_path, writable_folder
from matting_jax.choices import refuse_input
from matting_jax.config import read_config
from matting_jax.convert import load_checkpoint
from matting_jax.models import create_model, input_names
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.trimap_from import rule_of
from matting_jax.tasks import find_task


def load_matter(
    config: ConfigDict,
    checkpoint: str | Path,
    *,
    trimap_from: str | Path | None = None,
    trimap_rule: Mapping[str, Any] | None = None,
) -> Matter:
    """Returns the network of `config` with its weights and its test-time rule.

    Args:
        config: names the network, its keywords and the options of its test-time rule.
        checkpoint: a workdir, whose best checkpoint is loaded, or an official file.
        trimap_from: workdir of a network that makes the trimaps of this one.
        trimap_rule: fields of that network's rule to replace.

    Raises:
        FileNotFoundError: if there is no such checkpoint or workdir.
        ValueError: if a checkpoint does not fit its network, or `trimap_from` does not fit this
            network or makes no trimap by `trimap_rule`.
    """
    first = None
    if trimap_from:
        refuse_input("trimap", list_inputs(config), config.name, "--trimap_from")
        first = load_trimap_matter(trimap_from, trimap_rule)
    variables = load_checkpoint(config.name, checkpoint, **config.model)
    matter = Matter(
        config.name,
        variables,
        test_time=config.test_time,
        trimap_from=first,
        trimap_rule=trimap_rule,
        **config.model,
    )
    if config.compilation_cache:
        folder = writable_folder(cache_path(config.compilation_cache))
        matter.keep_traces(folder / "traces")
    return matter


def list_inputs(config: ConfigDict) -> list[str]:
    """Returns what the network of `config` takes in addition to the image."""
    model = create_model(config.name, **config.model)
    return [name for name in input_names(model) if name != "image"]


def load_trimap_matter(workdir: str | Path, rule: Mapping[str, Any] | None = None) -> Matter:
    """Returns the network of a run, which makes trimaps for another one.

    Raises FileNotFoundError without a checkpoint, and ValueError if the network makes no trimap, or
    none by `rule`.
    """
    config = read_config(Path(workdir))
    rule_of(config.name, rule)
    if find_task(config.task.name).result(config) == "classes":
        raise ValueError(
            f"--trimap_from {workdir} predicts other classes than those of a trimap: take a run "
            "of a recipe that trains trimaps"
        )
    return load_matter(config, workdir)
