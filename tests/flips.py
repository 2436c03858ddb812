"""Flips single bits of a saved checkpoint, and counts those that are not noticed.

python -m tests.flips --flips 300 --seed 0

A state of parameters, statistics, optimizer state and moving average is saved as training saves it.
Then one bit of one of the files is flipped, the checkpoint is read as training or prediction reads
it, and the bit is flipped back. Each flip must be noticed, or leave all numbers as they were; the
exit code is 1 if other numbers were returned.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.tasks.task import mad
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim
from tests.tiny import tiny_config

STEP = 3


def make_state() -> dict[str, Any]:
    """Returns a state with arrays that Orbax keeps in its index, and larger ones."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    params = {"a": {"kernel": draw(3, 3, 16, 16), "bias": draw(16)}, "b": {"scale": draw(4)}}
    return {
        "step": np.asarray(STEP, np.int32),
        "params": params,
        "batch_stats": {"a": {"mean": draw(16), "var": draw(16)}},
        "opt_state": ({"mu": draw(64, 64)}, jnp.asarray(draw(32, 8), jnp.bfloat16)),
        "ema": jax.tree.map(np.copy, params),
        "memory": {},
    }


def read(workdir: Path, state: Any, training: bool) -> tuple[Any, Any]:
    """Returns what training or prediction reads of a workdir, and what it should be."""
    if training:
        checkpoints = checkpoint.open_checkpoints(workdir, mad, reading=True)
        return checkpoint.restore(checkpoints, state), state
    expected = {"params": state["ema"], "batch_stats": state["batch_stats"]}
    return checkpoint.load_variables(workdir), expected


def is_same(tree: Any, other: Any) -> bool:
    """Returns whether two trees are bit-equal."""
    if jax.tree.structure(tree) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def flip(path: Path, bit: int) -> None:
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def run(flips: int, seed: int, folder: Path) -> Counter:
    """Flips `flips` bits of a checkpoint in `folder`, and returns the counts of the outcomes.

    These are "noticed", "harmless" and "silent".
    """
    state, workdir = make_state(), folder / "run"
    claim(workdir, tiny_config())
    checkpoints = checkpoint.open_checkpoints(workdir, mad)
    checkpoint.save(checkpoints, STEP, state, {"mad": 0.5})
    checkpoints.close()
    files = sorted(x for x in (workdir / "checkpoints").rglob("*") if x.is_file())
    sizes = [x.stat().st_size for x in files]
    rng, counts = random.Random(seed), Counter()
    for number in range(flips):
        (path,) = rng.choices(files, sizes)
        bit = rng.randrange(8 * path.stat().st_size)
        flip(path, bit)
        try:
            outcome = "harmless" if is_same(*read(workdir, state, number % 2 == 0)) else "silent"
        except Exception:  # whatever it is, it is noticed
            outcome = "noticed"
        flip(path, bit)
        counts[outcome] += 1
        if outcome == "silent":
            print(f"{path.relative_to(workdir)}: bit {bit} gives other numbers", flush=True)
    assert all(is_same(*read(workdir, state, training)) for training in (True, False))
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable()  # TensorStore's errors, which are counted here
    with tempfile.TemporaryDirectory() as folder:
        counts = run(arguments.flips, arguments.seed, Path(folder))
    print(", ".join(f"{counts[name]} {name}" for name in ("noticed", "harmless", "silent")))
    return int(counts["silent"] > 0)


if __name__ == "__main__":
    sys.exit(main())
