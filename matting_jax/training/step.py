"""The training step of one device: gradients, gradient accumulation, update, moving average."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from matting_jax import parallel
from matting_jax.models import network_of
from matting_jax.tasks.task import Task
from matting_jax.training.state import State, statistics_of

Arrays = dict[str, jax.Array]

# Operations whose results a rematerialised step keeps; all others are cheap to compute again.
KEPT = ("conv_general_dilated", "dot_general", "reduce_sum", "while", "scan", "top_k", "sort")


def train_step(
    config: ConfigDict,
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformation,
    epoch: int,
    *view: tuple[int, int],
) -> Callable[[State, Arrays], tuple[State, Arrays]]:
    """Returns step(state, batch) -> (state, terms) of one device; see `parallel.pmap`.

    Args:
        config: config of the run.
        model: network that the step trains.
        task: task of the run.
        optimizer: optimizer of the run.
        epoch: number of training samples; a task may refresh its memory once per epoch.
        *view: size (height, width) of the task's stage, if it has several.
    """
    seed = jax.random.key(config.seed)
    frozen = [name for name, rate in config.optimizer.module_rates.items() if rate == 0]
    forward = partial(task.forward, model)
    if config.rematerialise:
        forward = jax.checkpoint(forward, policy=is_kept)

    def step(state: State, batch: Arrays) -> tuple[State, Arrays]:
        memory, statistics = state["memory"], statistics_of(state)
        if task.state:
            variables = {"params": state["params"], **statistics}
            memory = task.state.refresh(memory, variables, state["step"], epoch, config)

        def gradients(statistics: Any, part: Arrays) -> tuple[Any, Any]:
            keys = jax.vmap(lambda index: jax.random.fold_in(seed, index))(part["index"])
            # The barrier keeps XLA from computing a sample again for each layer that reads it.
            samples = task.synthesize(keys, part, config, *view)
            inputs, truth = jax.lax.optimization_barrier(samples)

            def loss(params: Any) -> tuple[jax.Array, Any]:
                # stop_gradient lets XLA skip the backward pass of frozen modules and keeps them
                # out of the gradient norm.
                params = {
                    name: jax.lax.stop_gradient(x) if name in frozen else x
                    for name, x in params.items()
                }
                variables = {"params": parallel.to_varying(params), **statistics}
                outputs, updated = forward(variables, inputs, memory)
                total, terms = task.loss(outputs, inputs, truth, config, parallel.AXIS)
                # Equal on all devices already, unless statistics are not synchronised.
                return total, (terms, parallel.mean_devices(updated, parallel.AXIS))

            gradient = jax.value_and_grad(loss, has_aux=True)
            (total, (terms, statistics)), grads = gradient(state["params"])
            return statistics, (grads, {"loss": total, **terms})

        statistics, (grads, terms) = accumulate(gradients, statistics, batch, config.accumulate)
        updates, opt_state = optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        ema = state["ema"]
        if config.ema_decay:
            ema = optax.incremental_update(params, ema, 1 - config.ema_decay)
        new_state = {
            "step": state["step"] + 1,
            "params": params,
            **statistics,
            "opt_state": opt_state,
            "ema": ema,
            "memory": memory,
        }
        return new_state, {**terms, "gradient_norm": optax.tree.norm(grads)}

    return step


def is_kept(operation: Any, *_: Any, **__: Any) -> bool:
    """Returns whether a rematerialised step keeps the results of an operation."""
    return operation.name in KEPT


def check_micro_batches(batch_size: int, devices: int, count: int) -> None:
    """Raises ValueError if the samples of one device cannot be split into `count` micro-batches."""
    local = batch_size // devices
    if count < 1 or local % count:
        raise ValueError(
            f"accumulate={count} does not divide the {local} samples of batch_size={batch_size} "
            f"on each device ({devices} here): set --config.accumulate to a divisor of {local}"
        )


def check_pooled_norm(config: ConfigDict, model: nn.Module, mesh: Mesh) -> None:
    """Raises ValueError if the network batch-normalises a single value per channel.

    Networks with `Network.pooled_norm` have one value per photo. A batch of one value has the
    variance 0, so that the running variance decays and predictions explode.

    Args:
        config: config of the run.
        model: network of the run.
        mesh: devices of the run.
    """
    if config.freeze_statistics or not network_of(model).pooled_norm(model):
        return
    devices = 1 if config.synchronise_statistics else mesh.size
    if config.batch_size // devices // config.accumulate > 1:
        return
    remedies = ["--config.freeze_statistics"]
    least = 2 * config.accumulate * (1 if config.synchronise_statistics else jax.device_count())
    remedies.insert(0, f"--config.batch_size={least}")
    if devices > 1:
        remedies.insert(0, "--config.synchronise_statistics")
    separate = f" on each of {devices} devices" if devices > 1 else ""
    raise ValueError(
        f"{config.name} normalises one value per photo and channel, so a micro-batch must hold at "
        f"least 2 photos, but batch_size={config.batch_size} with accumulate={config.accumulate} "
        f"makes 1{separate}: set {', or '.join(remedies)}"
    )


def accumulate(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, batch: Any, count: int
) -> tuple[Any, Any]:
    """Applies `function` to micro-batches one after the other and averages the results.

    Sample i is in micro-batch i modulo `count`, so that a micro-batch holds the same samples for
    any number of devices.

    Args:
        function: maps (carry, micro-batch) to (carry, results).
        carry: value that is handed from one micro-batch to the next.
        batch: tree of arrays [B, ...].
        count: number of micro-batches, a divisor of B.

    Returns:
        The last carry, and the means of the results.
    """
    if count == 1:
        return function(carry, batch)
    batch = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(state: Any, part: Any) -> tuple[Any, None]:
        carry, sums = state
        carry, results = function(carry, part)
        return (carry, jax.tree.map(jnp.add, sums, results)), None

    _, results = jax.eval_shape(function, carry, jax.tree.map(lambda x: x[0], batch))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), results)
    (carry, sums), _ = jax.lax.scan(add, (carry, zeros), batch)
    return carry, jax.tree.map(lambda x: x / count, sums)
