"""Many mattes measured on all cores, and the folder that holds the results."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from matting_jax.evaluation.report import tiles, write_page
from matting_jax.evaluation.scores import (
    METRICS,
    SPLIT,
    Case,
    Row,
    all_scores,
    columns,
    left_out,
    mean_scores,
    write_csv,
)
from matting_jax.files import write_atomically, write_folder_atomically

T = TypeVar("T")
RESULTS = {"scores.csv", "index.html", "tiles", "alphas", "preview.png"}
# Starting a process takes as long as measuring some ten large images.
IMAGES_A_PROCESS = 10


def measure(
    cases: Iterable[Callable[[], Case]],
    count: int,
    folder: Path,
    title: str,
    convention: str,
    *,
    save: bool = False,
) -> dict[str, float]:
    """Write scores.csv, index.html with its tiles, and with `save` alphas/ into `folder`.

    Each of the `count` cases is called where it is measured, in another process if there are many.
    The folder replaces that of an earlier evaluation, whole or not at all. Prints and returns the
    means.
    """
    with write_folder_atomically(folder) as partly:
        work = partial(measure_one, convention=convention, folder=partly, save=save)
        rows = list(on_all_cores(work, enumerate(cases), count))
        notes = [
            f"{key} is no number (NaN) for {number} of {len(rows)} images, left out of its mean"
            for key, number in left_out(rows).items()
        ]
        write_csv(partly / "scores.csv", rows)
        write_page(partly, title, convention, rows, notes)
    print(*in_words(rows), *notes, sep="\n")
    print(f"each image: {folder / 'scores.csv'}; to look at: {folder / 'index.html'}")
    return mean_scores(rows)


def measure_one(
    numbered: tuple[int, Callable[[], Case]], *, convention: str, folder: Path, save: bool
) -> Row:
    """The row of one case, whose tiles, and with `save` its alpha, are written into `folder`."""
    number, load = numbered
    case = load()
    for name, tile in tiles(case).items():
        with write_atomically(folder / "tiles" / f"{number}_{name}") as file:
            tile.save(file)
    if save:
        with write_atomically(folder / "alphas" / f"{case.name}.png") as file:
            Image.fromarray(np.rint(255 * case.prediction).astype(np.uint8)).save(file)
    return all_scores(case, convention)


def on_all_cores(function: Callable[[T], Row], items: Iterable[T], count: int) -> Iterator[Row]:
    """function(item) of each of the `count` items, in order; items are taken only as needed."""
    processes = min(cores(), count // IMAGES_A_PROCESS)
    if processes < 2:
        yield from map(function, items)
        return
    # A fork of a process in which JAX runs threads may hang.
    context = multiprocessing.get_context("spawn")
    ignore = (signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends the others
    pool = ProcessPoolExecutor(processes, context, signal.signal, ignore)
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # which macOS lacks
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_words(rows: Sequence[Row]) -> list[str]:
    """The means, a line a region."""
    means = mean_scores(rows)
    regions = {
        f"{len(rows)} image{'s' * (len(rows) > 1)}": columns(METRICS),
        "unknown region, known pixels filled from the trimap": columns(METRICS, "_unknown"),
        "SAD by region, nothing filled": {name.removeprefix("sad_"): name for name in SPLIT},
    }
    lines = []
    for region, names in regions.items():
        values = [f"{name} {means[key]:.4f}" for name, key in names.items() if key in means]
        if values:
            lines.append(f"{region}: {', '.join(values)}")
    return lines


def check_output(folder: Path, overwrite: bool) -> None:
    """Raise FileExistsError where results would replace anything but, with `overwrite`, others."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: give another folder by --output")
    found = {path.name for path in folder.iterdir()}
    if found - RESULTS:
        raise FileExistsError(
            f"{folder} holds {min(found - RESULTS)}, which no evaluation wrote: "
            "give another folder by --output"
        )
    if found and not overwrite:
        raise FileExistsError(f"{folder} exists already: pass --overwrite to replace it")
