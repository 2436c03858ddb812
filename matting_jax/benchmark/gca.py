"""Measures memory and time of GCA Matting on CPU, from 512 x 512 to 3840 x 2160.

    python -m matting_jax.benchmark.gca [--sizes 512x512 1024x1024 ...]

Sizes are width x height. Each runs in its own process, the photo padded by the test-time rule. The
peak is that of the whole process: Python, compiler, weights, features. The time is the CPU time of
all threads, the minimum of two runs of the compiled network, so that other programs on the machine
do not count. The official code took 7.5 GB and 100 s at 2048 x 2048, and failed at 3840 x 2160
with 24 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

SIZES = ["512x512", "1024x1024", "1536x1536", "2048x2048", "3840x2160"]
GIB = 2**30


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    processes = multiprocessing.get_context("spawn")
    print("size        peak of the process   CPU time")
    for size in parser.parse_args(arguments).sizes:
        results = processes.SimpleQueue()
        process = processes.Process(target=measure, args=(size, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{size}: the process ended with {process.exitcode}")
        peak, seconds = results.get()
        print(f"{size:12}{peak / GIB:8.2f} GiB{seconds:18.2f} s", flush=True)


def measure(size: str, results: multiprocessing.SimpleQueue) -> None:
    """Puts the peak in bytes and the CPU seconds of one photo's alpha into `results`."""
    # Imported here so that the process that starts the others stays small.
    import jax
    import numpy as np

    import matting_jax as mj
    from matting_jax.image.geometry import pad_to_multiple

    width, height = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    photo = rng.random((height, width, 3), np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(y / height - 0.5, x / width - 0.5)[..., None]
    trimap = np.where(radius < 0.2, 1, np.where(radius < 0.3, 0.5, 0)).astype(np.float32)

    model = mj.create_model("gca")
    padded = {"image": photo, "trimap": trimap}
    inputs = {name: pad_to_multiple(x[None], 32) for name, x in padded.items()}
    shapes = jax.eval_shape(model.init, jax.random.key(0), **mj.models.example_inputs(model))
    # NumPy draws the weights: compiling `model.init` would take longer than compiling the network.
    weights = jax.tree.map(lambda x: 0.01 * rng.standard_normal(x.shape, np.float32) ** 2, shapes)
    forward = jax.jit(lambda weights, inputs: model.apply(weights, **inputs)["alpha"])
    forward = forward.lower(weights, inputs).compile()
    seconds = []
    for _ in range(2):
        start = time.process_time()
        forward(weights, inputs).block_until_ready()
        seconds.append(time.process_time() - start)
    unit = 1 if sys.platform == "darwin" else 1024
    results.put((unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, min(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
