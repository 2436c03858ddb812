"""Measures BackgroundMattingV2 at 720p, 1080p and 4K in each refinement mode.

    python -m matting_jax.benchmark.bgmv2 [BACKBONE] [HEIGHT ...]

Prints, for the base network and each mode, the multiply-adds, the time, and the peak memory in
addition to weights and inputs; and the refiner's share of the multiply-adds and time of the mode
"full". The time is the CPU time of all threads, the minimum of several runs, so that other programs
on the machine do not count. Weights are random, so thresholding gets the threshold that selects as
many positions as sampling does. 4K has the published scale 0.125 with 320,000 pixels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from matting_jax.models import create_model
from matting_jax.models.cost import multiply_adds
from matting_jax.models.layers.forms import use_lax_form

SIZES = {720: (1280, 0.25, 80_000), 1080: (1920, 0.25, 80_000), 2160: (3840, 0.125, 320_000)}
RUNS = 4


def main(arguments: list[str]) -> None:
    backbone = arguments[0] if arguments else "mobilenet_v2"
    for height in [int(x) for x in arguments[1:]] or SIZES:
        width, scale, pixels = SIZES[height]
        rng = np.random.default_rng(0)
        image, background = (rng.random((1, height, width, 3), np.float32) for _ in range(2))
        options = {"backbone_scale": scale, "sample_pixels": pixels}
        model = create_model("bgmv2", backbone=backbone, prevent_oversampling=False, **options)
        variables = jax.jit(model.init)(jax.random.key(0), image[:, :64, :64], image[:, :64, :64])
        # Keeps the errors off the bounds 0 and 1, where equal ones make the threshold ambiguous.
        last = variables["params"]["decoder"]["conv4"]
        last["bias"] = last["bias"].at[4].set(0.5)
        print(f"{backbone}, {width} x {height}, scale {scale}")
        inputs = variables, image, background
        base = measure("base network only", model, *inputs, heads=("coarse_alpha",))
        full = measure("full", model.clone(refine_mode="full"), *inputs)
        error = model.apply(*inputs)["coarse_error"]
        threshold = float(np.quantile(error, 1 - pixels / 16 / error.size))
        for mode in ("sampling", "thresholding"):
            clone = model.clone(refine_mode=mode, threshold=threshold)
            cost = measure(mode, clone, *inputs)
            shares = [(a - b) / (c - b) for a, b, c in zip(cost, base, full, strict=True)]
            print(
                f"    its refiner relative to full: {shares[0]:.2f} of the multiply-adds, "
                f"{shares[1]:.2f} of the time"
            )


def measure(
    name: str,
    model: nn.Module,
    variables: Any,
    image: Any,
    background: Any,
    heads: Sequence[str] = ("alpha",),
) -> tuple[float, float]:
    """Measures one program and prints the results.

    Args:
        name: what is printed.
        model: the network.
        variables: its variables.
        image: [1, H, W, 3].
        background: [1, H, W, 3].
        heads: the outputs to compute.

    Returns:
        Multiply-adds and seconds.
    """

    def forward(model, variables, image, background):
        outputs = model.apply(variables, image=image, background=background)
        return [outputs[head] for head in heads]

    # For thresholding this is the maximum, since its capacity depends on the image.
    adds = multiply_adds(partial(forward, use_lax_form(model)), variables, image, background)
    program = jax.jit(partial(forward, model)).lower(variables, image, background).compile()
    memory = program.memory_analysis()
    peak = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20
    seconds = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        jax.block_until_ready(program(variables, image, background))
        seconds = min(seconds, time.process_time() - start)
    figures = f"{adds / 1e9:.2f} G multiply-adds, {seconds:.2f} s, {peak:.0f} MiB"
    print(f"  {name}: {figures}", flush=True)
    return adds, seconds


if __name__ == "__main__":
    main(sys.argv[1:])
