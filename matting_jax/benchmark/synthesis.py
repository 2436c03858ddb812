"""Measures what each task makes of a batch on the device: composites, trimaps, augmentation.

    python -m matting_jax.benchmark.synthesis [CONFIG[:VARIANT] ...] [--size PIXELS] [--samples N]

Prints the CPU time of one sample, in ms: the minimum over repetitions of the compiled program, in
one thread, with freed memory kept as in training. `--size` replaces the recipe's crop.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from matting_jax import allocator

RECIPES = (
    "modnet:official",
    "modnet:paper",
    "modnet:paddle",
    "gca:official",
    "dim:encoder_decoder",
    "pp_matting:paper",
    "pp_matting:official",
    "gfm:am2k_ori",
    "gfm:am2k_comp_rssn",
    "bgmv2:base",
    "bisenet_v2:trimap",
    "bisenet_v2:cityscapes",
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="CONFIG[:VARIANT]")
    parser.add_argument("--size", type=int)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=7)
    flags = parser.parse_args(arguments)
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    )
    os.environ["OMP_NUM_THREADS"] = "1"
    if allocator.runs_on_cpu():
        allocator.keep_freed_memory()
    print("recipe                     crop         ms a sample", flush=True)
    for recipe in flags.recipes:
        size, milliseconds = measure(recipe, flags.size, flags.samples, flags.repetitions)
        print(f"{recipe:24} {size:>12} {milliseconds:12.1f}", flush=True)


def measure(recipe: str, size: int | None, samples: int, repetitions: int) -> tuple[str, float]:
    """Returns the size of a recipe's crops in words, and the CPU time of one sample in ms."""
    # Imported here, after the allocator and XLA are configured.
    import jax

    from matting_jax.config import load_config
    from matting_jax.models import create_model
    from matting_jax.tasks import find_task

    name, _, variant = recipe.partition(":")
    config = load_config(find_recipe(name), variant or None)
    if size:
        config.data.crop.size, config.data.crop.width = size, 0
        if "views" in config.synthesis:
            config.synthesis.views = ()
    task = find_task(config.task.name)
    _, *view = task.stage(create_model(config.name, **config.model), config, 0)
    batch = draw_batch(config, task, samples)
    keys = jax.random.split(jax.random.key(0), samples)
    program = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config, *view))
    program = program.lower(keys, batch).compile()
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        jax.block_until_ready(program(keys, batch))
        seconds.append(time.process_time() - start)
    height, width = next(iter(batch.values())).shape[1:3]
    return f"{height}x{width}", 1000 * min(seconds) / samples


def find_recipe(name: str) -> Path:
    """Returns the file of a recipe: `name` itself, or configs/NAME.py of the checkout."""
    return Path(name if name.endswith(".py") else f"configs/{name}.py")


def draw_batch(config, task, samples: int) -> dict:
    """Draws a uint8 batch with all arrays that the task reads."""
    import numpy as np

    from matting_jax.data.crops import sides

    height, width = sides(config.data.crop)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - height / 2, x - width / 2)
    # A subject with fringes, so that the edge is long and soft.
    reach = (0.3 + 0.02 * np.sin(40 * angle)) * min(height, width)
    radius = np.hypot(y - height / 2, x - width / 2)
    alpha = np.rint(255 * np.clip((reach - radius) / 8 + 0.5, 0, 1)).astype(np.uint8)

    def colours() -> np.ndarray:
        coarse = rng.integers(0, 256, (samples, height // 8, width // 8, 3), np.uint8)
        return coarse.repeat(8, 1).repeat(8, 2)

    alphas = np.broadcast_to(alpha[..., None], (samples, height, width, 1)).copy()
    if task.unlabelled:
        return {"image": colours()}
    if task.labelled(config):
        return {"image": colours(), "label": alphas // 16}
    batch = {"foreground": colours(), "alpha": alphas, "background": colours()}
    if config.data.train.combine:
        batch |= {"foreground2": colours(), "alpha2": np.roll(alphas, width // 4, 2)}
    if task.denoised(config):
        batch |= {f"{name}_denoised": layer for name, layer in batch.items() if "alpha" not in name}
    planes = task.planes(config)
    if planes is not None:
        batch["alpha_planes"] = np.stack([planes.make(x[..., 0]) for x in alphas])
    return batch


if __name__ == "__main__":
    main(sys.argv[1:])
