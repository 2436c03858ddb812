"""Resumes a training run on another number of devices, again and again.

python -m tests.devices --changes 12 --seed 0

The tiny network is trained in one program on one device, and in several that each resume the run on
1, 2, 4 or 8 devices after a few steps. In the end each array of parameters, statistics, optimizer
state and moving average must be equal to rounding: a sum over several devices has another order.
Prints the largest difference, relative to the largest value of its array; the exit code is 1 if it
exceeds 1e-3. A step more or less gives 0.2 to 0.6.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from matting_jax.workdir.claim import claim
from tests import flags
from tests.helpers import draw_images, use_folders
from tests.processes import start
from tests.tiny import tiny_config

DEVICES = (1, 2, 4, 8)
LIMIT = 1e-3
STEPS = 3  # between two changes


def train(workdir: Path, devices: int, steps: int) -> None:
    """Trains up to a step on so many devices; raises RuntimeError if that fails."""
    program = start(
        [f"--workdir={workdir}", f"--config.steps={steps}"], XLA_FLAGS=flags.devices(devices)
    )
    _, errors = program.communicate()
    if program.returncode:
        raise RuntimeError(errors[-4000:])


def read(folder: Path) -> Any:
    """Returns the arrays of a checkpoint, which may be of devices that do not exist here."""
    reader = ocp.PyTreeCheckpointer()
    tree = reader.metadata(folder).item_metadata.tree
    arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=arrays))


def difference(workdir: Path, other: Path, step: int) -> float:
    """Returns the largest difference of two saved states, relative to the largest of an array."""
    one, two = (read(x / "checkpoints" / str(step) / "default") for x in (workdir, other))
    assert jax.tree.structure(one) == jax.tree.structure(two)

    def of_arrays(a: np.ndarray, b: np.ndarray) -> float:
        a, b = (np.asarray(x, np.float64) for x in (a, b))
        return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-3))

    return max(jax.tree.leaves(jax.tree.map(of_arrays, one, two)))


def run(changes: int, seed: int, folder: Path) -> float:
    """Changes the number of devices of a run `changes` times; returns what `difference` does."""
    config = use_folders(tiny_config(), draw_images(folder / "images"), folder / "xla")
    config.batch_size, config.steps = max(DEVICES), STEPS * (changes + 1)
    config.save_every = config.evaluate_every = config.preview_images = 0
    config.evaluate_first = "none"
    whole, workdir, rng = folder / "whole", folder / "changed", random.Random(seed)
    for path in (whole, workdir):
        claim(path, config)
    train(whole, 1, config.steps)
    devices = 1
    for end in range(STEPS, config.steps + 1, STEPS):
        train(workdir, devices, end)
        print(f"step {end}: {devices} devices", flush=True)
        devices = rng.choice([number for number in DEVICES if number != devices])
    return difference(workdir, whole, config.steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.changes, arguments.seed, Path(folder))
    print(f"largest relative difference {found:.1e}, limit {LIMIT:.0e}")
    return int(found > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
