"""Measures `--mode predict` of a folder of photos, as whole commands.

    python -m matting_jax.benchmark.photos [--config CONFIG] [--checkpoint FILE] [--input DIR]
        [--count 20] [--runs 2] [--other "python demo.py {input} {output}"] [--flags FLAG ...]

Without `--input` photos of about two megapixels and ten shapes are drawn, without `--checkpoint`
the weights. The command runs with empty caches, then `--runs` times with what the first one left,
each with and without cut-outs, and each time in turn with `--other`, a program that does the same
work. The figures are the CPU time of a command and all its threads, with imports, the least of its
runs, its time by the clock, and its peak of memory. One thread: taskset -c 0.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# Widths of the photos that are drawn, in turn; half of them stand upright.
SHORT, LONGS = 1080, (1080, 1160, 1290, 1360, 1430, 1490, 1630, 1770, 1900, 2030)


class Usage(NamedTuple):
    """The cost of a command: CPU seconds, seconds by the clock, and peak of memory in bytes."""

    cpu: float
    clock: float
    peak: int


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="modnet:official")
    parser.add_argument("--checkpoint")
    parser.add_argument("--input", help="folder of photos")
    parser.add_argument("--count", type=int, default=20, help="photos that are drawn")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--other", help="command with {input} and {output}")
    parser.add_argument("--flags", nargs="+", default=[], help="more flags of the command, no --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        photos = Path(options.input or draw_photos(place / "photos", options.count))
        checkpoint = options.checkpoint or draw_weights(options.config, place)
        flags = [f"--{flag}" for flag in options.flags]
        ours = predict_command(options.config, checkpoint, photos, place / "ours", flags)
        commands = {
            "first": ours,
            "again": ours,
            "again, alphas only": [*ours, "--foreground=none"],
        }
        if options.other:
            commands["other"] = fill(options.other, photos, place / "other")
        print(f"{'':20}{'CPU s':>8}{'clock s':>9}{'peak':>10}", flush=True)
        for name, usage in measure(commands, place, options.runs):
            peak = f"{usage.peak / 1e9:.2f} GB"
            print(f"{name:20}{usage.cpu:8.1f}{usage.clock:9.1f}{peak:>10}", flush=True)


def measure(
    commands: Mapping[str, Sequence[str]], place: Path, runs: int
) -> Iterator[tuple[str, Usage]]:
    """Yields what each command takes, "first" once and the others at least in `runs` runs in turn.

    Args:
        commands: by name; the first one fills the caches for those after it.
        place: folder of the caches.
        runs: times that each command runs.
    """
    caches = {"XDG_CACHE_HOME": str(place / "cache"), "NUMBA_CACHE_DIR": str(place / "numba")}
    environment = {**os.environ, **caches}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    names = list(commands)
    yield names[0], run(commands[names[0]], environment)
    found = {name: [] for name in names[1:]}
    for _ in range(runs):
        for name in found:
            found[name].append(run(commands[name], environment))
    for name, usages in found.items():
        yield name, min(usages)


def run(command: Sequence[str], environment: Mapping[str, str]) -> Usage:
    """Runs a command to its end; raises SystemExit with what it printed if it fails."""
    with tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        clock = time.perf_counter() - start
        if process.returncode:
            printed.seek(0)
            raise SystemExit(printed.read().decode(errors="replace"))
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(usage.ru_utime + usage.ru_stime, clock, unit * usage.ru_maxrss)


def predict_command(
    config: str, checkpoint: str, photos: Path, output: Path, flags: Sequence[str]
) -> list[str]:
    """Returns the command that predicts a folder of photos."""
    program = [sys.executable, "-m", "matting_jax", "predict", f"--config={config}"]
    files = [f"--checkpoint={checkpoint}", f"--input={photos}", f"--output={output}"]
    return [*program, *files, "--existing=overwrite", *flags]


def fill(command: str, photos: Path, output: Path) -> list[str]:
    """Returns the words of a command with the folders in the place of {input} and {output}."""
    return [word.format(input=photos, output=output) for word in shlex.split(command)]


def draw_photos(folder: Path, count: int) -> Path:
    """Writes `count` JPEG files of coloured clouds, and returns their folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        long = LONGS[number // 2 % len(LONGS)]
        size = (long, SHORT) if number % 4 < 2 else (SHORT, long)
        clouds = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        photo = np.asarray(clouds.resize(size, Image.Resampling.BICUBIC), np.int16)
        photo = np.clip(photo + rng.integers(-8, 9, photo.shape, np.int16), 0, 255)
        Image.fromarray(photo.astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=90)
    return folder


def draw_weights(config: str, folder: Path) -> str:
    """Writes random weights of the network of a config, and returns their file."""
    # A process that measures others needs no JAX of its own with given weights.
    from matting_jax.benchmark.forward import random_variables
    from matting_jax.config import load_config, split_variant
    from matting_jax.convert import to_official
    from matting_jax.convert.files import write_state_dict
    from matting_jax.models import create_model

    settings: Any = load_config(*split_variant(config))
    model = create_model(settings.name, **settings.model)
    path = folder / "weights.safetensors"
    variables = random_variables(model, np.random.default_rng(0))
    write_state_dict(path, to_official(model, variables))
    return str(path)


if __name__ == "__main__":
    main(sys.argv[1:])
