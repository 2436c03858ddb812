"""Measures the forward pass of networks: tracing, lowering, compilation, run and memory.

    python -m matting_jax.benchmark.forward [NETWORK[:KEYWORD=VALUE,...] ...]
        [--sizes 512x512 ...] [--runs 5] [--options NAME=VALUE ...]

NETWORK is a name of `mj.create_model`, with keywords of it, by default each network as published.
Sizes are width x height; options are those of XLA's compiler. Each figure is the CPU time of all
threads, so that other programs on the machine do not count; the run is the minimum of `--runs`, its
memory the peak in addition to weights and inputs. Each network runs in its own process, because a
process traces its first network more slowly. Weights are random, and the compilation cache is off.
One thread: OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0.
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

from matting_jax.allocator import keep_freed_memory


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--sizes", nargs="+", default=["512x512"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--options", nargs="+", default=[], metavar="NAME=VALUE")
    flags = parser.parse_args(arguments)
    options = read_keywords(flags.options)
    processes = multiprocessing.get_context("spawn")
    columns = ("trace", 8), ("lower", 8), ("compile", 9), ("run", 10), ("memory", 10)
    print(f"{'network':32}{'size':>12}" + "".join(f"{name:>{width}}" for name, width in columns))
    for network in flags.networks or all_networks():
        for size in flags.sizes:
            process = processes.Process(target=measure, args=(network, size, flags.runs, options))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{network}: the process ended with {process.exitcode}")


def all_networks() -> list[str]:
    """Returns the names of all networks."""
    # Imported here so that the allocator is set before JAX is imported.
    from matting_jax.models import NETWORKS

    return list(NETWORKS)


def read_keywords(pairs: list[str]) -> dict[str, Any]:
    """Reads NAME=VALUE pairs, values as Python writes them; other values are strings."""
    keywords = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            keywords[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            keywords[name] = text
    return keywords


def measure(network: str, size: str, runs: int, options: dict[str, Any]) -> None:
    """Prints the row of one network and size; the arguments are those of the command line."""
    keep_freed_memory()
    import jax
    import numpy as np

    import matting_jax as mj
    from matting_jax.models import example_inputs, network_of
    from matting_jax.models.layers.folding import fold

    jax.config.update("jax_enable_compilation_cache", False)
    name, _, keywords = network.partition(":")
    model = mj.create_model(name, **read_keywords([x for x in keywords.split(",") if x]))
    width, height = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: example_inputs(model, height, width))
    inputs = {x: rng.random(shape.shape, np.float32) for x, shape in shapes.items()}
    variables = fold(random_variables(model, rng))
    output = network_of(model).output

    forward = jax.jit(lambda variables, inputs: model.apply(variables, **inputs)[output])
    traced, trace = cpu_time(lambda: forward.trace(variables, inputs))
    lowered, lower = cpu_time(traced.lower)
    compiled, compilation = cpu_time(lambda: lowered.compile(compiler_options=options or None))
    variables, inputs = jax.device_put((variables, inputs))
    run = min(
        cpu_time(lambda: compiled(variables, inputs).block_until_ready())[1] for _ in range(runs)
    )
    memory = compiled.memory_analysis().temp_size_in_bytes
    print(
        f"{network:32}{size:>12}{trace:6.2f} s{lower:6.2f} s{compilation:7.2f} s"
        f"{1000 * run:7.0f} ms{memory / 2**20:6.0f} MiB",
        flush=True,
    )


def random_variables(model: Any, rng: Any) -> Any:
    """Draws variables of `model` with NumPy: compiling `model.init` would take longer.

    Kernels keep the size of activations about as it is, scales and variances are 1.
    """
    import jax
    import numpy as np

    from matting_jax.models import example_inputs

    inputs = example_inputs(model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs))

    def draw(path: Any, leaf: Any) -> np.ndarray:
        values = rng.standard_normal(leaf.shape, np.float32)
        if len(leaf.shape) > 1:
            return values * np.float32((2 / np.prod(leaf.shape[:-1])) ** 0.5)
        # Large vectors of spectral normalisation, so that features stay finite.
        name = path[-1].key
        if name in ("scale", "var"):
            return np.ones_like(values)
        return values * np.float32(3 if name in ("u", "v") else 0.1)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def cpu_time(function: Callable[[], Any]) -> tuple[Any, float]:
    """Calls `function` and returns its result and the CPU seconds that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


if __name__ == "__main__":
    main(sys.argv[1:])
