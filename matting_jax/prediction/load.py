"""Loads a network with its weights and its test-time rule."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flax import linen as nn
from flax import traverse_util
from ml_collections import ConfigDict

from matting_jax.caches import cache_path, writable_folder
from matting_jax.choices import refuse_input
from matting_jax.convert import load_model_variables
from matting_jax.convert.identify import find_identity
from matting_jax.convert.identity import (
    config_of,
    differences,
    keywords_of,
    recall,
    remember,
)
from matting_jax.convert.shapes import flat_shapes
from matting_jax.convert.tables import describe
from matting_jax.models import create_model, input_names
from matting_jax.models.layers.dtypes import compute_dtype
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.trimap_from import rule_of
from matting_jax.tasks import find_task

logger = logging.getLogger("matting_jax")


def load(
    source: str | Path,
    network: str | None = None,
    *,
    test_time: Mapping[str, Any] | None = None,
    trimap_from: Matter | str | Path | None = None,
    trimap_rule: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Matter:
    """Returns a network with its weights, and with the keywords and options that belong to them.

    A run keeps them in its workdir. A file that this library wrote has them in it or next to it.
    Without `network`, other files are identified by their tensors.

    Args:
        source: a workdir, an official file, the name of a published file (docs/weights.md),
            hf://OWNER/REPOSITORY/FILE or a web address.
        network: name of the network, for files that do not say it.
        test_time: replaces options of the test-time rule.
        trimap_from: makes the trimap of a photo that is passed without one: a `Matter`, or what
            `source` takes.
        trimap_rule: replaces fields of its trimap rule.
        **keywords: replaces keywords of the network, those of `create_model`.

    Raises:
        FileNotFoundError: if there is no such source.
        ValueError: if the weights are not of `network` or do not fit `keywords`, if their network
            cannot be identified, or if `trimap_from` does not fit.
    """
    identity = find_identity(source, network, keywords)
    variables = load_model_variables(create_model(identity.network, **identity.keywords), source)
    identity = recall(variables) or identity  # with the step
    chosen = replace(
        identity,
        keywords={**identity.keywords, **keywords},
        test_time={**identity.test_time, **(test_time or {})},
    )
    check_fit(source, variables, create_model(identity.network, **chosen.keywords))
    remember(variables, chosen)
    if isinstance(trimap_from, str | Path):
        trimap_from = load(trimap_from)
    return Matter(
        identity.network,
        variables,
        test_time=chosen.test_time,
        trimap_from=trimap_from,
        trimap_rule=trimap_rule,
        **chosen.keywords,
    )


def check_fit(source: str | Path, variables: Mapping[str, Any], model: nn.Module) -> None:
    """Raises ValueError if `variables` do not have the shapes of those of `model`."""
    found = traverse_util.flatten_dict(dict(variables))
    expected = {path: leaf.shape for path, leaf in flat_shapes(model).items()}
    if {path: leaf.shape for path, leaf in found.items()} != expected:
        raise ValueError(f"the weights of {source} are not those of {describe(model)}")


def load_matter(
    config: ConfigDict,
    checkpoint: str | Path,
    *,
    trimap_from: str | Path | None = None,
    trimap_rule: Mapping[str, Any] | None = None,
    size_step: int = 0,
) -> Matter:
    """Returns the network of `config` with its weights and its test-time rule.

    Args:
        config: names the network, its keywords and the options of its test-time rule.
        checkpoint: a workdir, whose best checkpoint is loaded, an official file, or a name.
        trimap_from: the same of a network that makes the trimaps of this one.
        trimap_rule: fields of that network's rule to replace.
        size_step: multiple to which both sides of a photo are padded, see `Matter`.

    Raises:
        FileNotFoundError: if there is no such checkpoint or workdir.
        ValueError: if a checkpoint does not fit its network, or `trimap_from` does not fit this
            network or makes no trimap by `trimap_rule`.
    """
    first = None
    if trimap_from:
        refuse_input("trimap", list_inputs(config), config.name, "--trimap_from")
        first = load_trimap_matter(trimap_from, trimap_rule)
    model = create_model(config.name, **config.model)
    dtype = compute_dtype(config.compute_dtype)
    variables = load_model_variables(model, checkpoint)
    adopt(variables, checkpoint, model, config.test_time)
    matter = Matter(
        config.name,
        variables,
        test_time=config.test_time,
        trimap_from=first,
        trimap_rule=trimap_rule,
        size_step=size_step,
        **({"dtype": dtype} if dtype is not None else {}),
        **config.model,
    )
    if config.compilation_cache:
        folder = writable_folder(cache_path(config.compilation_cache))
        matter.keep_traces(folder / "traces")
    return matter


def adopt(
    variables: Mapping[str, Any],
    checkpoint: str | Path,
    model: nn.Module,
    test_time: Mapping[str, Any],
) -> None:
    """Warns if a config differs from the identity of the weights, which then follows the config."""
    identity = recall(variables)
    if identity and (found := differences(identity, model, test_time)):
        logger.warning(f"the config differs from that of {checkpoint}: {', '.join(found)}")
        keywords = keywords_of(model)
        remember(variables, replace(identity, keywords=keywords, test_time=dict(test_time)))


def list_inputs(config: ConfigDict) -> list[str]:
    """Returns what the network of `config` takes in addition to the image."""
    model = create_model(config.name, **config.model)
    return [name for name in input_names(model) if name != "image"]


def load_trimap_matter(source: str | Path, rule: Mapping[str, Any] | None = None) -> Matter:
    """Returns the network of a run or a file, which makes trimaps for another one.

    Raises FileNotFoundError without a checkpoint, and ValueError if the network makes no trimap, or
    none by `rule`.
    """
    config = config_of(find_identity(source))
    rule_of(config.name, rule)
    if find_task(config.task.name).result(config) == "classes":
        raise ValueError(
            f"--trimap_from {source} predicts other classes than those of a trimap: take a run "
            "of a recipe that trains trimaps"
        )
    return load_matter(config, source)
