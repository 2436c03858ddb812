"""Terminal output of a training run, and the losses and timing of its log lines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from matting_jax.config import flatten
from matting_jax.data.crops import sides
from matting_jax.models import example_inputs
from matting_jax.models.cost import forward_cost

logger = logging.getLogger("matting_jax")


class LogInterval:
    """Losses and timing of the steps since the last log line; `bar` shows their progress."""

    def __init__(self, bar: tqdm | None = None):
        self._bar = bar
        self._start()

    def _start(self) -> None:
        self._terms: list[dict[str, jax.Array]] = []
        self._waited = 0.0
        self._started = time.perf_counter()

    def next_batch(self, batches: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Returns the next batch and records how long it took to arrive."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        return batch

    def add(self, terms: dict[str, jax.Array]) -> None:
        """Records the losses of one step."""
        self._terms.append(terms)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of the block, such as an evaluation, also from the bar's estimate."""
        before = time.perf_counter()
        if self._bar is not None:
            self._bar.refresh()
        yield
        self._started += time.perf_counter() - before
        if self._bar is not None:
            self._bar.unpause()

    def finish(self, batch_size: int) -> dict[str, float]:
        """Returns mean losses, samples per second and the fraction of time waited for data.

        The next interval starts afterwards.
        """
        terms = jax.device_get(self._terms)
        elapsed = time.perf_counter() - self._started
        values = {name: float(np.mean([t[name] for t in terms])) for name in terms[0]}
        values["samples_per_second"] = batch_size * len(terms) / elapsed
        values["data_wait"] = self._waited / elapsed
        self._start()
        return values


def progress(first_step: int, steps: int) -> tqdm:
    """Returns the numbers of the steps after `first_step`, shown as a progress bar."""
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
    """Prints a line, above the progress bar if there is one, in the first process."""
    if not bar.disable:
        bar.write(text)
    elif jax.process_index() == 0:
        print(text, flush=True)


def describe(step: int, values: Mapping[str, float]) -> str:
    """Returns the line of a step, given what `LogInterval.finish` returns and `learning_rate`."""
    return (
        f"step {step}: loss {values['loss']:.4f}, rate {values['learning_rate']:.3g}, "
        f"{values['samples_per_second']:.3g} samples/s, {values['data_wait']:.1%} waiting"
    )


@contextmanager
def announced_compilation(what: str, interval: LogInterval) -> Iterator[None]:
    """Logs that the block compiles, and how long it took.

    Args:
        what: what is compiled, for the messages.
        interval: timing of the steps, from which the block is excluded.
    """
    level = logging.DEBUG if jax.process_index() else logging.INFO
    logger.log(level, "compiling %s, which may take minutes", what)
    before = time.perf_counter()
    with interval.paused():
        yield
    logger.log(level, "compiled %s in %.1f s", what, time.perf_counter() - before)


def print_start(
    config: ConfigDict,
    model: nn.Module,
    shapes: Any,
    mesh: Mesh,
    source: Any,
    images: int,
    workdir: Path,
    first_step: int,
) -> None:
    """Prints devices, network, data and recipe, one line each.

    Args:
        config: config of the run.
        model: network in training.
        shapes: shapes of its variables.
        mesh: devices of the run.
        source: training data.
        images: number of scored test images.
        workdir: folder of the run.
        first_step: step from which the run resumes, or 0.
    """
    if jax.process_index():
        return
    height, width = sides(config.data.crop)
    inputs = example_inputs(model, height, width)
    parameters = sum(x.size for x in jax.tree.leaves(shapes["params"]))
    products = forward_cost(model, shapes, inputs)
    optimizer, schedule = config.optimizer, config.optimizer.schedule
    lines = {
        "devices": f"{mesh.size} of {jax.device_count()} x {mesh.devices.flat[0].device_kind}",
        "network": f"{config.name}, {parameters:,} parameters, "
        f"{products / 1e9:.2f} G multiply-adds at {height} x {width}",
        "train": source.description,
        "test": f"{images} images" if images else "none: nothing is scored",
        "predict": ", ".join(f"test_time.{x}={y}" for x, y in flatten(config.test_time).items()),
        "recipe": f"{config.steps} steps of {config.batch_size}, {optimizer.name}, "
        f"learning rate {optimizer.learning_rate:g} ({schedule.name}), {config.compute_dtype}",
        "workdir": f"{workdir}" + (f", from step {first_step}" if first_step else ""),
    }
    for name, text in lines.items():
        if text:
            print(f"{name:8} {text}")


def print_finished(workdir: Path, steps: int) -> None:
    """Prints that the run is finished, and which field extends it."""
    if jax.process_index() == 0:
        print(
            f"{workdir} is finished after {steps} steps; to extend it: --config.steps={2 * steps}"
        )


def print_end(workdir: Path, needs: Sequence[str], result: str, scored: bool = True) -> None:
    """Prints where everything is and what to run next.

    Args:
        workdir: the run.
        needs: the inputs of the network in addition to the image.
        result: what it predicts: "alpha", "trimap" or "classes".
        scored: whether the config names images to score.
    """
    if jax.process_index():
        return
    # The installed command, or the program of the checkout.
    installed = Path(sys.argv[0]).name == "matting_jax"
    program = "matting_jax" if installed else "python launch.py"
    inputs = "".join(f" --{name} {name.upper()}" for name in needs)
    network = {
        "alpha": f"--workdir {workdir}",
        "trimap": f"--workdir RUN --trimap_from {workdir}",
    }
    commands = [f"{program} --mode evaluate --workdir {workdir}"] if scored else []
    if result in network:
        commands.append(
            f"{program} --mode predict \\\n"
            f"             {network[result]} --input PHOTO{inputs} --output DIR"
        )
    print(
        f"checkpoints  {workdir}/checkpoints\n"
        f"curves       {workdir}/metrics.jsonl, or tensorboard --logdir {workdir}\n"
        f"previews     {workdir}/previews"
    )
    for number, command in enumerate(commands):
        print(f"{'' if number else 'next':12} {command}")
