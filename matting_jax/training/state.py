"""The training state: weights, statistics, optimizer state, moving average, memory of the task."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import traverse_util
from ml_collections import ConfigDict

from matting_jax import parallel
from matting_jax.convert import load_backbone, load_checkpoint
from matting_jax.data.crops import sides
from matting_jax.equations import evaluate
from matting_jax.models import create_model, example_inputs, find_network
from matting_jax.models.layers.dtypes import compute_dtype
from matting_jax.tasks.task import Task

State = dict[str, Any]

NOT_STATISTICS = ("step", "params", "opt_state", "ema", "memory")


def training_model(config: ConfigDict) -> nn.Module:
    """Returns the network of `config` with its compute dtype and its handling of statistics."""
    keywords = {"dtype": compute_dtype(config.compute_dtype)}
    if find_network(config.name).batch_norm:
        keywords["axis_name"] = parallel.AXIS if config.synchronise_statistics else None
        keywords["frozen_statistics"] = config.freeze_statistics
    return create_model(config.name, **config.model, **keywords)


def variable_shapes(model: nn.Module, height: int, width: int) -> Any:
    """Returns the shapes of the network's variables.

    Raises the ValueError of a network that cannot take crops of this size.
    """
    return trace_init(model, height, width).out_info


@lru_cache(maxsize=1)
def trace_init(model: nn.Module, height: int, width: int) -> jax.stages.Traced:
    """Traces `model.init(key, **inputs)` for crops of a size, once for shapes and variables."""
    return jax.jit(model.init).trace(jax.random.key(0), **example_inputs(model, height, width))


def initial_variables(config: ConfigDict, model: nn.Module) -> dict[str, Any]:
    """Returns variables from a checkpoint, else with a backbone from its file, else from the seed.

    Raises ValueError or FileNotFoundError if a file does not fit or does not exist.
    """
    if config.init.checkpoint and config.init.backbone:
        raise ValueError("give one of init.checkpoint and init.backbone: the first holds both")
    if config.init.checkpoint:
        return variables_from_checkpoint(config, model)
    variables = variables_from_seed(config, model)
    if config.init.backbone:
        return load_backbone(model, config.init.backbone, variables)
    return variables


def variables_from_checkpoint(config: ConfigDict, model: nn.Module) -> dict[str, Any]:
    """Returns the variables of `init.checkpoint`.

    If `init.model` says that its network has other keywords, the modules that only the trained
    network has are initialised from the seed.
    """
    keywords = {**config.model, **config.init.model}
    loaded = load_checkpoint(config.name, config.init.checkpoint, **keywords)
    # Copies are not known as those of a file, whose options this run may change.
    loaded = jax.tree.map(jnp.array, loaded)
    if keywords == dict(config.model):
        return loaded
    variables = variables_from_seed(config, model)
    return traverse_util.unflatten_dict(
        traverse_util.flatten_dict(variables) | traverse_util.flatten_dict(loaded)
    )


def variables_from_seed(config: ConfigDict, model: nn.Module) -> dict[str, Any]:
    """Returns randomly initialised variables."""
    height, width = sides(config.data.crop)
    traced = trace_init(model, height, width)
    inputs = example_inputs(model, height, width)
    return evaluate(traced, jax.random.key(config.seed), **inputs)


def initial_state(
    config: ConfigDict,
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    task: Task,
) -> State:
    """Returns the state before the first step.

    Args:
        config: config of the run.
        variables: initial variables of the network.
        optimizer: optimizer of the run.
        task: task of the run; its memory is part of the state.
    """
    variables = {name: jax.tree.map(jnp.asarray, x) for name, x in variables.items()}
    params = variables["params"]
    return {
        "step": jnp.zeros((), jnp.int32),
        **variables,
        "opt_state": jax.jit(optimizer.init)(params),  # one program, not one for each shape
        "ema": jax.tree.map(jnp.copy, params) if config.ema_decay else {},
        "memory": task.state.remember(variables) if task.state else {},
    }


def statistics_of(state: State) -> dict[str, Any]:
    """Returns the collections of the network that training updates in addition to `params`."""
    return {name: x for name, x in state.items() if name not in NOT_STATISTICS}


def variables_of(state: State) -> dict[str, Any]:
    """Returns the variables to predict with: the moving average of the parameters if kept."""
    variables = {"params": state["ema"] or state["params"], **statistics_of(state)}
    return jax.tree.map(lambda x: x.addressable_data(0), variables)
