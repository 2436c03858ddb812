"""Damages a data file within an epoch of training, and counts how the runs end.

python -m tests.data_faults --faults 40 --seed 0

At a random step one of the training images vanishes, becomes empty, half of itself, text, a folder
or an image of NaN. Each run must end with one error message that names the file, without a
traceback. Then the file is put back and the same command resumes, and in the end parameters,
statistics, optimizer state and test scores must equal those of a run without faults bit for bit. An
image that becomes another valid one, here a smaller one, is used as it is. The exit code is 1 if a
run ended otherwise.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from PIL import Image

from matting_jax.training import train as program
from matting_jax.workdir.claim import claim
from tests.full_disk import Ending, launch
from tests.helpers import draw_images, use_folders
from tests.kills import compare
from tests.tiny import register_tiny, tiny_config

STEPS = 16


def make_folder(path: Path) -> None:
    """Puts a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def fill_with_nan(path: Path) -> None:
    """Makes a file a grey float image of NaN."""
    Image.fromarray(np.full((80, 80), np.nan, np.float32)).save(path, "TIFF")


def shrink(path: Path) -> None:
    """Makes an image smaller than it was when the run began."""
    with Image.open(path) as image:
        smaller = image.crop((0, 0, 9, 9))
    smaller.save(path)


FAULTS: dict[str, Callable[[Path], Any]] = {
    "vanishes": Path.unlink,
    "is empty": lambda path: path.write_bytes(b""),
    "is half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "is text": lambda path: path.write_text("no image"),
    "is a folder": make_folder,
    "is NaN": fill_with_nan,
    "is smaller": shrink,
}
VALID = "is smaller"


def put_back(path: Path, content: bytes) -> None:
    """Makes a path the file that it was."""
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


def run_with_fault(workdir: Path, step: int, fault: Callable[[], Any]) -> Ending:
    """Trains, with `fault` called before the batch of a step is used."""
    batches = program.train_batches

    def faulty(*arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(*arguments), 1):
            if number == step:
                fault()
            yield batch

    with mock.patch.object(program, "train_batches", faulty):
        return launch([f"--workdir={workdir}"])


def problems_of(ending: Ending, path: Path) -> str:
    """Returns what is wrong with how a run ended, "" if nothing is."""
    last = (ending.text.splitlines() or [""])[-1]
    if ending.code != 2:
        return f"exit code {ending.code}"
    if "Traceback" in ending.text:
        return "a traceback"
    if not (last.startswith("full_disk: ") and str(path) in last and len(last) < 400):
        return "no error message with the path"
    return ""


def problems_of_resumed(workdir: Path, whole: Path) -> str:
    """Resumes a run and returns how it differs from one without faults, "" if it does not."""
    ending = launch([f"--workdir={workdir}"])
    if ending.code:
        return f"the same command fails: {ending.text[-1500:]}"
    equal = compare(workdir, whole)
    return "" if all(equal.values()) else f"the resumed run differs: {equal}"


def run(faults: int, seed: int, folder: Path) -> Counter:
    """Trains with `faults` faults in `folder`; returns the counts of "as promised" and "other"."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command line sets it
    register_tiny()
    jax.config.update("jax_disable_most_optimizations", True)
    images = draw_images(folder / "images")
    config = use_folders(tiny_config(), images, folder / "xla")
    config.steps, config.preview_images = STEPS, 0
    config.save_every, config.evaluate_every, config.log_every = 3, 8, 4
    config.data.keep_decoded = False
    whole, rng, counts = folder / "whole", random.Random(seed), Counter()
    claim(whole, config)
    assert launch([f"--workdir={whole}"]).code == 0
    files = sorted(x for kind in ("foregrounds", "backgrounds") for x in (images / kind).iterdir())
    for number in range(faults):
        kind = list(FAULTS)[number % len(FAULTS)]
        path, workdir, step = rng.choice(files), folder / "run", rng.randrange(1, STEPS // 2)
        content = path.read_bytes()
        claim(workdir, config)
        ending = run_with_fault(workdir, step, partial(FAULTS[kind], path))
        put_back(path, content)
        if kind == VALID:
            problem = f"exit code {ending.code}" * bool(ending.code)
        else:
            problem = problems_of(ending, path) or problems_of_resumed(workdir, whole)
        counts["other" if problem else "as promised"] += 1
        if problem:
            print(f"step {step}, {path.name} {kind}: {problem}\n{ending.text[-1500:]}", flush=True)
        shutil.rmtree(workdir)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run(arguments.faults, arguments.seed, Path(folder))
    print(", ".join(f"{counts[name]} {name}" for name in ("as promised", "other")))
    return int(counts["other"] > 0)


if __name__ == "__main__":
    sys.exit(main())
