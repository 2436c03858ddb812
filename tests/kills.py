"""Kills a training run repeatedly and compares its result with that of an uninterrupted run.

python -m tests.kills --kills 20 --seed 0

The tiny network is trained in a separate process, which saves after each step and is killed with
SIGKILL: at random moments, as soon as a checkpoint is half written or an old one half deleted, or
while it starts. Each kill prints a line of a table, and counts if the run had saved a step since
its start. In the end the parameters, statistics, optimizer state, test scores and kept checkpoints
of both runs must be equal bit for bit; otherwise the differences are printed, and the exit code is
1.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from matting_jax.workdir.claim import claim
from tests.helpers import ROOT, draw_images, scores_of, use_folders
from tests.tiny import tiny_config

MOMENTS = ("any", "saving", "deleting", "starting")
STEPS_A_KILL = 20
PARTS = (  # files and folders of a complete checkpoint
    "_CHECKPOINT_METADATA",
    "default/_METADATA",
    "default/manifest.ocdbt",
    "default/d",
    "default/ocdbt.process_0/manifest.ocdbt",
)


def start(workdir: Path) -> subprocess.Popen:
    """Starts or resumes the training of `workdir`."""
    variables = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.launch_tiny", f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(program: subprocess.Popen) -> None:
    """Waits for a program; raises RuntimeError with its error output if it failed."""
    _, errors = program.communicate()
    if program.returncode:
        raise RuntimeError(errors.decode()[-4000:])


def steps(workdir: Path) -> list[int]:
    """Returns the steps that have a checkpoint, including half deleted ones."""
    folder = workdir / "checkpoints"
    return sorted(int(x) for x in os.listdir(folder) if x.isdigit()) if folder.exists() else []


def half_written(workdir: Path) -> list[str]:
    """Returns the folders of checkpoints that are being written."""
    folder = workdir / "checkpoints"
    return [x for x in os.listdir(folder) if "orbax-checkpoint-tmp" in x] if folder.exists() else []


def half_deleted(workdir: Path) -> list[int]:
    """Returns the steps whose checkpoints are incomplete."""
    folders = [workdir / "checkpoints" / str(step) for step in steps(workdir)]
    found = [x for x in folders if not all((x / part).exists() for part in PARTS)]
    return [int(x.name) for x in found if x.exists()]


def kill(workdir: Path, moment: str, rng: random.Random) -> bool:
    """Starts a run, kills it at `moment` and prints a line; returns whether it made progress."""
    before = max(steps(workdir), default=0)
    program, begun = start(workdir), time.monotonic()

    def running() -> bool:
        return program.poll() is None

    def progress() -> bool:
        return max(steps(workdir), default=0) > before

    if moment == "starting":
        time.sleep(rng.uniform(0, 10))
    else:
        while running() and not progress():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
    seen = {"saving": half_written, "deleting": half_deleted}.get(moment, lambda workdir: True)
    while running() and not seen(workdir):
        pass
    program.kill()
    _, errors = program.communicate()
    if program.returncode >= 0:
        raise RuntimeError(f"the run ended before it was killed: {errors.decode()[-4000:]}")
    written, deleted = ("yes" if f(workdir) else "no" for f in (half_written, half_deleted))
    elapsed, last = time.monotonic() - begun, max(steps(workdir), default=0)
    print(f"{moment:>10} {elapsed:8.2f} {last:10d} {written:>12} {deleted:>12}", flush=True)
    return progress()


def compare(workdir: Path, other: Path) -> dict[str, bool]:
    """Returns for each part of two finished runs whether it is bit-equal."""
    last = max(steps(other))
    reader = ocp.StandardCheckpointer()
    one, two = (reader.restore(x / "checkpoints" / str(last) / "default") for x in (workdir, other))
    equal = {
        part: jax.tree.structure(one[part]) == jax.tree.structure(two[part])
        and jax.tree.all(jax.tree.map(np.array_equal, one[part], two[part]))
        for part in two
    }
    equal["test scores"] = scores_of(workdir) == scores_of(other)
    kept = [sorted(os.listdir(path / "checkpoints")) for path in (workdir, other)]
    equal["kept checkpoints"] = kept[0] == kept[1]
    return equal


def run(kills: int, seed: int, folder: Path) -> dict[str, bool]:
    """Kills a run `kills` times in `folder` and compares it with an uninterrupted run."""
    config = use_folders(tiny_config(), draw_images(folder / "images"), folder / "xla")
    config.steps = STEPS_A_KILL * kills
    config.save_every, config.evaluate_every, config.log_every = 1, 7, 5
    config.preview_images = 0
    config.optimizer.name = "adam"
    workdir, other = folder / "killed", folder / "whole"
    for path in (workdir, other):
        claim(path, config)
    finish(start(other))
    rng, counted = random.Random(seed), 0
    print("    moment  seconds  last step half written half deleted", flush=True)
    while counted < kills:
        counted += kill(workdir, rng.choice(MOMENTS), rng)
    finish(start(workdir))
    return compare(workdir, other)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        equal = run(arguments.kills, arguments.seed, Path(folder))
    for part, same in equal.items():
        print(f"{part}: {'equal' if same else 'DIFFERENT'}")
    return int(not all(equal.values()))


if __name__ == "__main__":
    sys.exit(main())
