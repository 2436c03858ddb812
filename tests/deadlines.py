"""Stops a training run by SIGTERM repeatedly, as schedulers do, and measures how long it takes.

python -m tests.deadlines --stops 20 --deadline 30 --seed 0

The tiny network is trained in a separate process, which gets SIGTERM at a random moment: while it
starts, compiles, trains or saves. It must end within the deadline, after which a scheduler kills
it, with exit code 143 and the last step saved. While it starts it may end without saving. In the
end the run must equal an uninterrupted one bit for bit. The exit code is 1 otherwise.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from matting_jax.workdir.claim import claim
from tests.helpers import draw_images, use_folders
from tests.kills import compare, finish, start, steps
from tests.tiny import tiny_config

STEPS_A_STOP = 40


def stop(workdir: Path, rng: random.Random, deadline: float) -> str:
    """Starts a run, stops it, and prints a line; returns what is wrong, "" if nothing is."""
    before = max(steps(workdir), default=0)
    program, training = start(workdir), rng.random() < 0.7
    begun = time.monotonic()
    if training:  # from the first line of the log on
        log = workdir / "metrics.jsonl"
        size = log.stat().st_size if log.exists() else 0
        while program.poll() is None and not (log.exists() and log.stat().st_size > size):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
    else:
        time.sleep(rng.uniform(0, 8))
    sent = time.monotonic()
    program.send_signal(signal.SIGTERM)
    _, errors = program.communicate()
    took, last = time.monotonic() - sent, max(steps(workdir), default=0)
    text = errors.decode()
    print(
        f"{sent - begun:8.2f} s {'training' if training else 'any':>8}: ended after {took:5.2f} s "
        f"with {program.returncode}, step {before} -> {last}",
        flush=True,
    )
    if took > deadline:
        return f"it took {took:.1f} s"
    if program.returncode == 0:  # it was finished
        return ""
    if program.returncode not in (143, -signal.SIGTERM) or "Traceback" in text:
        return f"exit code {program.returncode}: {text[-2000:]}"
    if program.returncode == 143 and f"saved at step {last} " not in text:
        return f"the last step is {last}, but it says {text[-300:]}"
    if training and program.returncode != 143:
        return "it did not save"
    return ""


def run(stops: int, deadline: float, seed: int, folder: Path) -> list[str]:
    """Stops a run `stops` times in `folder`; returns what went wrong."""
    config = use_folders(tiny_config(), draw_images(folder / "images"), folder / "xla")
    config.steps = STEPS_A_STOP * stops
    config.save_every = config.evaluate_every = config.preview_images = 0
    config.log_every = 1
    config.evaluate_first = "none"
    workdir, other, rng = folder / "stopped", folder / "whole", random.Random(seed)
    for path in (workdir, other):
        claim(path, config)
    finish(start(other))
    problems = [stop(workdir, rng, deadline) for _ in range(stops)]
    finish(start(workdir))
    equal = compare(workdir, other)
    del equal["kept checkpoints"]  # each stop saves
    different = [part for part, same in equal.items() if not same]
    return [x for x in problems if x] + [f"{part} differs" for part in different]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--deadline", type=float, default=30, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = run(arguments.stops, arguments.deadline, arguments.seed, Path(folder))
    print(f"{arguments.stops} stops, {len(problems)} problems", *problems, sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
