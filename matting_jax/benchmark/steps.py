"""Measures training steps: compilation, CPU time, memory, and on request the costliest operations.

    python -m matting_jax.benchmark.steps FILE[:VARIANT] [--config.FIELD=VALUE ...]
        [--steps 3] [--operations N]

For example 512 x 512 crops of the embedded sample, two in a step:

    python -m matting_jax.benchmark.steps configs/modnet.py --config.batch_size=2 \\
        --config.data.crop.size=512 --config.data.crop.rescale="(512, 768)"

The step is that of a run, from the bytes of a batch to the updated state. It runs in a process of
its own, without the data pipeline, whose peak is that of Python, compiler, weights and step. Times
are the CPU time of all threads, for steps the minimum, so that other programs on the machine do not
count; nothing is read from the cache of compiled programs. `--operations` also prints the N
operations of a step that take the most time, and what XLA knows of their origin.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from matting_jax import allocator
from matting_jax.config import load_config, override, split_variant

GB = 1e9


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", metavar="FILE[:VARIANT]")
    parser.add_argument("--steps", type=int, default=3, help="how many steps are timed")
    parser.add_argument("--operations", type=int, default=0, metavar="N")
    flags, fields = parser.parse_known_args(arguments)
    given = flags.recipe, fields
    try:
        read_recipe(*given)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    batch = run_alone(draw_batch, *given)
    run_alone(measure, *given, batch, flags.steps, flags.operations)


def run_alone(function: Any, *arguments: Any) -> Any:
    """Returns `function(*arguments)`, called in a process of its own; this one stays small."""
    processes = multiprocessing.get_context("spawn")
    with processes.Pool(1) as pool:
        return pool.apply(function, arguments)


def read_recipe(recipe: str, fields: list[str]) -> Any:
    """Returns the config of FILE[:VARIANT] with the fields that the command line sets."""
    return override(load_config(*split_variant(recipe)), fields)


def draw_batch(recipe: str, fields: list[str]) -> dict[str, Any]:
    """Returns the first batch of a run."""
    from matting_jax.data import train_batches
    from matting_jax.tasks import find_task
    from matting_jax.training.data import task_source

    config = read_recipe(recipe, fields)
    source = task_source(config, find_task(config.task.name))
    return next(iter(train_batches(source, config, 0, 1, 0, 1)))


def measure(
    recipe: str, fields: list[str], batch: dict[str, Any], steps: int, operations: int
) -> None:
    """Prints what a run's first step costs.

    Args:
        recipe: FILE[:VARIANT].
        fields: fields of the config that the command line sets.
        batch: arrays of the run's first batch.
        steps: how many steps are timed.
        operations: how many operations are listed.
    """
    config = read_recipe(recipe, fields)
    if config.allocator and allocator.runs_on_cpu():
        allocator.keep_freed_memory()
    # Imported here, because the allocator is configured before JAX is imported.
    import jax

    from matting_jax import parallel
    from matting_jax.data.crops import sides
    from matting_jax.models import network_of
    from matting_jax.tasks import find_task
    from matting_jax.training import state as states
    from matting_jax.training.optimizer import create_optimizer
    from matting_jax.training.step import train_step

    mesh = parallel.device_mesh(config.batch_size)
    task, model = find_task(config.task.name), states.training_model(config)
    shapes = states.variable_shapes(model, *sides(config.data.crop))
    modules = [*shapes["params"], *network_of(model).optional_modules]
    optimizer = create_optimizer(config, modules)
    initial = partial(states.initial_state, config, optimizer=optimizer, task=task)
    variables = states.initial_variables(config, model)
    state_shapes = parallel.replicated_shapes(jax.eval_shape(initial, shapes), mesh)
    stage, *view = task.stage(model, config, 1)
    program = parallel.pmap(train_step(config, stage, task, optimizer, 10**6, *view), mesh)
    batch = parallel.split(batch, mesh)

    start = time.process_time()
    lowered = program.lower(state_shapes, batch)
    traced = time.process_time()
    compiled = lowered.compile()
    planned = compiled.memory_analysis().temp_size_in_bytes
    print(f"trace {traced - start:.1f} s, compile {time.process_time() - traced:.1f} s")
    compiler_peak = peak_memory()
    allocator.release_freed_memory()  # as in a run
    state = parallel.replicate(initial(variables), mesh)
    del variables

    seconds = []
    for _ in range(1 + steps):
        start = time.process_time()
        state, terms = jax.block_until_ready(compiled(state, batch))
        seconds.append(time.process_time() - start)
    print(f"step {min(seconds[1:]):.2f} s (first {seconds[0]:.2f}), loss {terms['loss']:.6f}")
    print(
        f"memory {peak_memory() / GB:.2f} GB, of the compiler {compiler_peak / GB:.2f}; "
        f"XLA plans {planned / GB:.2f} for a step"
    )

    if operations:
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                jax.block_until_ready(compiled(state, batch))
            times = operation_times(Path(folder))
        print_operations(times, compiled.as_text(), operations)


def peak_memory() -> int:
    """Returns the most memory that the process had so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def operation_times(folder: Path) -> Counter[str]:
    """Returns the milliseconds of each operation in the only trace in `folder`."""
    from jax.profiler import ProfileData

    (path,) = folder.rglob("*.xplane.pb")
    times: Counter[str] = Counter()
    for plane in ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                if any(name == "hlo_op" for name, _ in event.stats):
                    times[event.name] += event.duration_ns / 1e6
    return times


def print_operations(times: Counter[str], program: str, count: int) -> None:
    """Prints the `count` costliest operations of a compiled program with their origin."""
    total = sum(times.values())
    print(f"{total:.0f} ms in {len(times)} operations")
    for name, milliseconds in times.most_common(count):
        line = re.search(rf"^ *(?:ROOT )?%{re.escape(name)} = (\S+) .*$", program, re.MULTILINE)
        shape = line[1] if line else ""
        origin = re.search(r'op_name="([^"]*)"', line[0]) if line else None
        print(f"{milliseconds:8.1f} ms  {name:40} {shape:40} {origin[1] if origin else ''}")


if __name__ == "__main__":
    main(sys.argv[1:])
