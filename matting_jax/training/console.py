"""What a training run says on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from matting_jax.data.crops import sides
from matting_jax.models import example_inputs
from matting_jax.models.cost import forward_cost


def progress(first_step: int, steps: int) -> tqdm:
    """The numbers of the steps to do, from `first_step` + 1 on, as one line of progress."""
    return tqdm(
        range(first_step + 1, steps + 1),
        initial=first_step,
        total=steps,
        desc="train",
        unit="step",
        dynamic_ncols=True,
        disable=True if jax.process_index() else None,
    )


def say(bar: tqdm, text: str) -> None:
    """`text` behind the line of progress; as a line of its own where the output is no terminal."""
    if not bar.disable:
        bar.set_postfix_str(text)
    elif jax.process_index() == 0:
        print(text, flush=True)


def print_start(
    config: ConfigDict,
    model: nn.Module,
    mesh: Mesh,
    source: Any,
    images: int,
    workdir: Path,
    first_step: int,
) -> None:
    """Devices, network, data and recipe, a line each; `images` are those of the test."""
    if jax.process_index():
        return
    height, width = sides(config.data.crop)
    inputs = example_inputs(model, height, width)
    shapes = jax.eval_shape(model.init, jax.random.key(0), **inputs)
    parameters = sum(x.size for x in jax.tree.leaves(shapes["params"]))
    products = forward_cost(model, shapes, inputs)
    optimizer, schedule = config.optimizer, config.optimizer.schedule
    lines = {
        "devices": f"{mesh.size} of {jax.device_count()} x {mesh.devices.flat[0].device_kind}",
        "network": f"{config.name}, {parameters:,} parameters, "
        f"{products / 1e9:.2f} G multiply-adds at {height} x {width}",
        "train": source.description,
        "test": f"{images} images" if images else "none: nothing is scored",
        "recipe": f"{config.steps} steps of {config.batch_size}, {optimizer.name}, "
        f"learning rate {optimizer.learning_rate:g} ({schedule.name}), {config.compute_dtype}",
        "workdir": f"{workdir}" + (f", from step {first_step}" if first_step else ""),
    }
    for name, text in lines.items():
        print(f"{name:8} {text}")


def print_finished(workdir: Path, steps: int) -> None:
    """That the run is finished, and which field makes it go on."""
    if jax.process_index() == 0:
        print(f"{workdir} is finished after {steps} steps; to go on: --config.steps={2 * steps}")


def print_end(workdir: Path, needs: Sequence[str], labels: str = "") -> None:
    """Where everything lies and what to type next; `needs` is what goes with each photo. Of a
    network that makes no alpha `labels` says what it learns, "trimap" or "given" classes."""
    if jax.process_index():
        return
    beside = "".join(f" --{name} {name.upper()}" for name in needs)
    network = f"--workdir RUN --trimap_from {workdir}" if labels else f"--workdir {workdir}"
    prediction = (
        f"\n             python launch.py --mode predict {network} "
        f"--input PHOTO{beside} --output DIR"
    )
    print(
        f"checkpoints  {workdir}/checkpoints\n"
        f"curves       {workdir}/metrics.jsonl, {workdir}/events (TensorBoard)\n"
        f"previews     {workdir}/previews\n"
        f"next         python launch.py --mode evaluate --workdir {workdir}"
        + ("" if labels == "given" else prediction)
    )
