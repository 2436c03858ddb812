"""Training steps, and the share of the host and of the synthesis in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from matting_jax import parallel
from matting_jax.benchmark.accelerator.case import Case, Row, fill, median_seconds
from matting_jax.config import load_config
from matting_jax.tasks import find_task
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, training_model, variable_shapes
from matting_jax.training.step import train_step

RECIPES = Path(__file__).resolve().parents[3] / "configs"
CHANNELS = {"foreground": 3, "alpha": 1, "background": 3, "foreground2": 3, "alpha2": 1}
# Recipe, variant, samples of a step, and the number of arrays of CHANNELS that it reads.
STEPS = (("modnet", "official", 16, 3), ("gca", "official", 8, 5))
SIDE = 512


def steps(small: bool) -> Iterator[Case]:
    """Yields whole training steps, with composition, losses, gradients and the update."""
    for recipe, variant, batch_size, arrays in STEPS:
        for dtype in ("float32", "bfloat16"):
            config = load_config(RECIPES / f"{recipe}.py", variant)
            config.batch_size, config.compute_dtype = (2 if small else batch_size), dtype
            config.data.crop.size = 64 if small else SIDE
            yield from step_cases(f"{recipe} {dtype}", config, list(CHANNELS)[:arrays])


def step_cases(name: str, config: ConfigDict, arrays: list[str]) -> Iterator[Case]:
    """Yields the training step of a config, whose batch holds `arrays`, and its synthesis."""
    mesh, side = parallel.device_mesh(config.batch_size), config.data.crop.size
    task, model = find_task(config.task.name), training_model(config)
    variables = variable_shapes(model, side, side)
    optimizer = create_optimizer(config, list(variables["params"]))

    def start(variables: Any) -> Any:
        return initial_state(config, variables, optimizer, task)

    state = parallel.replicated_shapes(jax.eval_shape(start, variables), mesh)
    batch = batch_shapes(config.batch_size, side, arrays, mesh)

    def make(shapes: Any) -> Any:
        return parallel.replicate(start(fill(variables)), mesh), fill(shapes[1])

    def synthesise(batch: Any) -> Any:
        keys = jax.vmap(jax.random.key)(batch["index"])
        return task.synthesize(keys, batch, config)

    step = parallel.pmap(train_step(config, model, task, optimizer, 1000), mesh)
    name = f"{name} {config.batch_size}x{side}x{side}"
    measure = partial(measure_steps, mesh=mesh)
    yield Case("training", name, step, (state, batch), measure, make, config.batch_size)
    if config.compute_dtype == "float32":
        name = f"{name} synthesis"
        yield Case("training", name, jax.jit(synthesise), (batch,), items=config.batch_size)


def batch_shapes(batch_size: int, side: int, arrays: list[str], mesh: Mesh) -> dict[str, Any]:
    """Returns the shapes of a batch of uint8 crops, sharded over the devices."""
    sharding = NamedSharding(mesh, P(parallel.AXIS))
    shapes = {"index": jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=sharding)}
    for name in arrays:
        shape = (batch_size, side, side, CHANNELS[name])
        shapes[name] = jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=sharding)
    return shapes


def measure_steps(program: Callable[..., Any], arguments: Any, seconds: float, mesh: Mesh) -> Row:
    """Times steps one queued behind the other, with the copy of each batch to the device.

    `dispatch_milliseconds` is what the host spends on a step before it can prepare the next one.
    """
    state, batch = arguments
    batch = {name: np.asarray(x) for name, x in batch.items()}
    dispatches = []

    def step() -> Any:
        nonlocal state
        start = time.perf_counter()
        state, terms = program(state, parallel.split(batch, mesh))
        dispatches.append(time.perf_counter() - start)
        return terms

    milliseconds = 1e3 * median_seconds(step, seconds)
    dispatch = 1e3 * float(np.median(dispatches))
    return {"milliseconds": milliseconds, "dispatch_milliseconds": dispatch}
