"""Measures exported files: size, difference from JAX, and time in their runtimes and in JAX.

    python -m matting_jax.benchmark.export [NETWORK[:KEYWORD=VALUE,...] ...]
        [--size 512x512] [--runs 5] [--formats .onnx .onnx:int8 ...]

NETWORK is a name of `mj.create_model`, with keywords of it, by default each network as published;
a format may be followed by how its kernels are stored. Weights are random. The error is the 99.9 %
quantile of the largest difference of an output. Times are the CPU time of one pass, the minimum of
`--runs`; files and JAX take turns, so that other programs on the machine disturb all alike. One
thread: OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from matting_jax.allocator import keep_freed_memory
from matting_jax.benchmark.forward import all_networks, cpu_time, random_variables, read_keywords


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--size", default="512x512", metavar="HEIGHTxWIDTH")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--formats", nargs="+", default=[".onnx", ".tflite"], metavar="EXTENSION")
    flags = parser.parse_args(arguments)
    keep_freed_memory()
    print(f"{'network':40}{'format':>16}{'size':>10}{'error':>10}{'file':>9}{'JAX':>9}")
    for network in flags.networks or all_networks():
        measure(network, flags.size, flags.runs, flags.formats)


def measure(network: str, size: str, runs: int, formats: list[str]) -> None:
    """Prints one row for each format of one network."""
    import jax
    import numpy as np

    import matting_jax as mj
    from matting_jax.export.check import compare, sample_inputs
    from matting_jax.export.formats import FORMATS, Options
    from matting_jax.export.graph import build_graph, parse_size

    name, _, keywords = network.partition(":")
    model = mj.create_model(name, **read_keywords([x for x in keywords.split(",") if x]))
    variables = random_variables(model, np.random.default_rng(0))
    build = partial(build_graph, model, variables, {}, size=parse_size(size), rule=False)
    graph = build(form="cpu")
    inputs = sample_inputs(graph.inputs)
    compiled = jax.jit(lambda x: graph.function(**x)).lower(graph.shapes).compile()
    on_device = jax.device_put(inputs)
    programs = {"JAX": lambda: jax.block_until_ready(compiled(on_device))}
    expected = {name: np.asarray(x) for name, x in programs["JAX"]().items()}
    sizes, errors = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form in formats:
            extension, _, weights = form.partition(":")
            found = FORMATS[extension](Options(weights=weights or "float32"))
            path = Path(folder) / f"{weights}{extension}"
            try:
                found.write(build(form=found.form), path, {})
            except ValueError as error:
                print(f"{network:40}{form:>16}  {error}")
                continue
            sizes[form] = path.stat().st_size / 1e6
            programs[form] = partial(found.open(path), inputs)
            errors[form] = max(x.quantile for x in compare(programs[form](), expected).values())
        times = {form: [] for form in programs}
        for _ in range(runs):
            for form, program in programs.items():
                times[form].append(cpu_time(program)[1])
    for form in sizes:
        print(
            f"{network:40}{form:>16}{sizes[form]:7.1f} MB{errors[form]:10.1e}"
            f"{min(times[form]):7.2f} s{min(times['JAX']):7.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
