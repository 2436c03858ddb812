"""Measures a photo's share of a folder: one after another, overlapped, and in batches.

    python -m matting_jax.benchmark.folders [NETWORK[:KEYWORD=VALUE,...] ...]
        [--size 800x600] [--photos 4] [--runs 2]

NETWORK is a name of `mj.create_model`, with keywords of it, by default each network as published.
The size is width x height. Each photo goes from its JPEG file to PNG files of alpha and cut-out
with estimated colours, or of classes, by the published test-time rule with random weights. Before
the first run all programs are compiled. The forms run in turn, in one process a network; each
figure is the least of the runs for a photo: CPU seconds of all threads, and seconds by the clock,
in which only overlapping shows, and what else the machine does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from matting_jax.allocator import keep_freed_memory
from matting_jax.benchmark.forward import all_networks, random_variables, read_keywords

PROFILE = "srgb"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--size", default="800x600", metavar="WIDTHxHEIGHT")
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2)
    flags = parser.parse_args(arguments)
    processes = multiprocessing.get_context("spawn")
    print(f"{flags.photos} photos of {flags.size}, seconds a photo: CPU, by the clock")
    for network in flags.networks or all_networks():
        process = processes.Process(
            target=measure, args=(network, flags.size, flags.photos, flags.runs)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{network}: the process ended with {process.exitcode}")


def measure(network: str, size: str, photos: int, runs: int) -> None:
    """Prints the row of one network; the arguments are those of the command line."""
    keep_freed_memory()
    from matting_jax.prediction.matter import Matter
    from matting_jax.prediction.run import Work

    name, _, keywords = network.partition(":")
    values = read_keywords([x for x in keywords.split(",") if x])
    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        matter = make_matter(name, values, Matter)
        jobs = draw_jobs(Path(folder), matter, photos, height, width)

        def predict(photo: Any, **inputs: np.ndarray) -> np.ndarray:
            return matter(photo.image, **inputs)

        work = Work(predict, partial(draw, matter.network.output), matter.list_programs)
        forms = {
            "one after another": partial(run_singly, jobs, work),
            "overlapped": partial(run_overlapped, jobs, Path(folder), work),
            f"batches of {photos}": partial(run_batch, jobs, work),
        }
        for form in forms.values():  # compiles
            form()
        found: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
        for _ in range(runs):
            for form, function in forms.items():
                found[form].append(seconds(function))
    cells = []
    for form, times in found.items():
        cpu, clock = (min(x) / photos for x in zip(*times, strict=True))
        cells.append(f"{form} {cpu:6.2f} {clock:6.2f}")
    print(f"{network:32}" + " | ".join(cells), flush=True)


def make_matter(name: str, keywords: dict[str, Any], matter: Callable[..., Any]) -> Any:
    """Returns a network with random weights and its published rule."""
    from matting_jax.models import create_model

    variables = random_variables(create_model(name, **keywords), np.random.default_rng(0))
    return matter(name, variables, **keywords)


def draw_jobs(folder: Path, matter: Any, photos: int, height: int, width: int) -> list[Any]:
    """Writes photos and the network's other inputs, and returns their jobs."""
    from matting_jax.prediction.jobs import Job

    rng, jobs = np.random.default_rng(0), []
    trimap = np.full((height, width), 128, np.uint8)
    trimap[: height // 4], trimap[-height // 4 :] = 0, 255
    for number in range(photos):
        clouds = [
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).resize((width, height))
            for _ in range(2)
        ]
        files = {x: folder / f"{number}_{x}.png" for x in ("trimap", "background")}
        photo = folder / f"{number}.jpg"
        clouds[0].save(photo, quality=90)
        clouds[1].save(files["background"])
        Image.fromarray(trimap).save(files["trimap"])
        results = {x: folder / f"{number}_result_{x}.png" for x in ("alpha", "cutout")}
        jobs.append(Job(photo, {x: files[x] for x in matter.needs}, results))
    return jobs


def draw(output: str, photo: Any, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns alpha [H, W] and cut-out [H, W, 4], or the most probable classes [H, W]."""
    from matting_jax.image.foreground import multilevel

    if output != "alpha":
        return {"alpha": predicted.argmax(-1).astype(np.uint8)}
    alpha = np.rint(255 * predicted).astype(np.uint8)
    return {"alpha": alpha, "cutout": np.dstack([multilevel(photo.image, alpha), alpha])}


def run_singly(jobs: Sequence[Any], work: Any) -> None:
    """Reads, predicts, draws and writes one photo after another."""
    from matting_jax.prediction.run import draw_job, predict_job, read_job, write_files

    for job in jobs:
        write_files(draw_job(work, job, predict_job(work, job, read_job(job, PROFILE, False))))


def run_overlapped(jobs: Sequence[Any], folder: Path, work: Any) -> None:
    """Does what `--mode predict` does."""
    from matting_jax.prediction.run import run_jobs

    with redirect_stdout(StringIO()):
        run_jobs(jobs, folder, work, PROFILE)


def run_batch(jobs: Sequence[Any], work: Any) -> None:
    """Predicts all photos in one batch of the network; all else one after another."""
    from matting_jax.prediction.run import draw_job, predict_job, read_job, write_files
    from matting_jax.prediction.together import run_together

    read = [read_job(job, PROFILE, False) for job in jobs]
    calls = [partial(predict_job, work, job, photo) for job, photo in zip(jobs, read, strict=True)]
    # As `compile_ahead` does, so that the batch is one program.
    for needed in work.list_programs(*read[0][0].image.shape[:2]):
        needed.with_count(len(jobs)).compile()
    for job, result in zip(jobs, run_together(calls, len(jobs)), strict=True):
        write_files(draw_job(work, job, result.result()))


def seconds(function: Callable[[], None]) -> tuple[float, float]:
    """Returns the CPU time of a call, of all threads, and its time by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - clock


if __name__ == "__main__":
    main(sys.argv[1:])
