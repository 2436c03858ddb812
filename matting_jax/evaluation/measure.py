"""Measures many mattes on all cores and writes the folder of the results."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax.data import read_exact_alpha
from matting_jax.data.files.folders import Compared
from matting_jax.data.files.images import read_visible
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.evaluation.report import tiles, write_page
from matting_jax.evaluation.scores import (
    METRICS,
    SPLIT,
    Case,
    Row,
    all_scores,
    columns,
    mean_scores,
    undefined,
    write_csv,
)
from matting_jax.files import write_atomically, write_folder_atomically
from matting_jax.overlap import cores
from matting_jax.prediction.inputs import as_float_trimap

T, R = TypeVar("T"), TypeVar("R")
Numbered = tuple[int, Callable[[], Case]]
RESULTS = {"scores.csv", "index.html", "tiles", "alphas", "preview.png"}
# Starting a process takes as long as measuring about ten large images.
IMAGES_PER_PROCESS = 10


def measure(
    cases: Iterable[Numbered],
    count: int,
    folder: Path,
    title: str,
    convention: str,
    *,
    save: bool = False,
) -> dict[str, float]:
    """Writes scores.csv, index.html with its tiles, and with `save` alphas/ into `folder`.

    The folder atomically replaces that of an earlier evaluation. The means are printed.

    Args:
        cases: number of each image in the table, and a function that returns its case, called in
            the process that measures it; in any order.
        count: number of cases.
        folder: where the results are written.
        title: what is measured, the page's title.
        convention: definition of the metrics, a key of CONVENTIONS.
        save: write the alphas as well.

    Returns:
        The mean scores.
    """
    with write_folder_atomically(folder) as temporary:
        rows = measure_cases(cases, count, temporary, convention, save)
        lines = write_report(temporary, title, convention, rows)
    print_results(lines, folder)
    return mean_scores([row for _, row in rows])


def print_results(lines: Sequence[str], folder: Path) -> None:
    """Prints the lines of a report, and where its files are."""
    print(*lines, sep="\n")
    print(f"scores  {folder / 'scores.csv'}")
    print(f"page    {folder / 'index.html'}")


def measure_cases(
    cases: Iterable[Numbered], count: int, folder: Path, convention: str, save: bool
) -> list[tuple[int, Row]]:
    """Returns number and row of each case, sorted, and writes its tiles into `folder`.

    Takes what `measure` takes.
    """
    work = partial(measure_one, convention=convention, folder=folder, save=save)
    return sorted(on_all_cores(work, cases, count), key=lambda numbered: numbered[0])


def write_report(
    folder: Path, title: str, convention: str, rows: Sequence[tuple[int, Row]]
) -> list[str]:
    """Writes scores.csv and index.html next to the tiles, and returns the means as text.

    Args:
        folder: holds the tiles of all rows, whose numbers count from 0.
        title: what is measured, the page's title.
        convention: definition of the metrics.
        rows: number and scores of each image, sorted.
    """
    rows = [row for _, row in rows]
    notes = [
        f"{key} is NaN for {number} of {len(rows)} images, which its mean omits"
        for key, number in undefined(rows).items()
    ]
    write_csv(folder / "scores.csv", rows)
    write_page(folder, title, convention, rows, notes)
    return [*summarize(rows), *notes]


def measure_files(
    found: Sequence[Compared], folder: Path, title: str, convention: str
) -> dict[str, float]:
    """Measures files of predictions.

    Args:
        found: the files of each image.
        folder: where the results of `measure` are written.
        title: what is measured, the page's title.
        convention: definition of the metrics, a key of CONVENTIONS.

    Returns:
        The mean scores.
    """
    bar = tqdm(found, desc="evaluate", unit="image", leave=False, disable=None)
    cases = ((number, partial(read_case, files)) for number, files in enumerate(bar))
    return measure(cases, len(found), folder, title, convention)


def read_case(files: Compared) -> Case:
    """Reads the images of one name; alphas are not rounded to 8 bits."""
    return Case(
        files.name,
        read_exact_alpha(files.prediction),
        read_exact_alpha(files.truth),
        files.trimap and as_float_trimap(read_trimap(files.trimap))[..., 0],
        files.photo and read_visible(files.photo),
    )


def measure_one(
    numbered: Numbered, *, convention: str, folder: Path, save: bool
) -> tuple[int, Row]:
    """Returns number and row of one case.

    Args:
        numbered: number of the case, and the function that returns it.
        convention: definition of the metrics.
        folder: where its tiles are written.
        save: write its alpha as well.
    """
    number, load = numbered
    case = load()
    for name, tile in tiles(case).items():
        with write_atomically(folder / "tiles" / f"{number}_{name}") as file:
            tile.save(file)
    if save:
        with write_atomically(folder / "alphas" / f"{case.name}.png") as file:
            Image.fromarray(np.rint(255 * case.prediction).astype(np.uint8)).save(file)
    try:
        return number, all_scores(case, convention)
    except ValueError as error:
        raise ValueError(f"{case.name}: {error}") from error


def on_all_cores(function: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Yields function(item) for each of the `count` items, in order; `items` is read lazily."""
    processes = min(cores(), count // IMAGES_PER_PROCESS)
    if processes < 2:
        yield from map(function, items)
        return
    # Forking a process in which JAX runs threads may hang.
    context = multiprocessing.get_context("spawn")
    ignore = (signal.SIGINT, signal.SIG_IGN)  # the parent handles it and ends the others
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


def summarize(rows: Sequence[Row]) -> list[str]:
    """Returns the means as text, one line per region."""
    means = mean_scores(rows)
    regions = {
        f"{len(rows)} image{'s' * (len(rows) > 1)}": columns(METRICS),
        "unknown region, known pixels filled from the trimap": columns(METRICS, "_unknown"),
        "SAD by region, not filled": {name.removeprefix("sad_"): name for name in SPLIT},
    }
    lines = []
    for region, names in regions.items():
        values = [f"{name} {means[key]:.4f}" for name, key in names.items() if key in means]
        if values:
            lines.append(f"{region}: {', '.join(values)}")
    return lines


def check_output(folder: Path, overwrite: bool) -> None:
    """Raises FileExistsError if the folder holds anything but results to `overwrite`."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: pass another folder as --output")
    found = {path.name for path in folder.iterdir()}
    if found - RESULTS:
        raise FileExistsError(
            f"{folder} holds {min(found - RESULTS)}, which no evaluation wrote: "
            "pass another folder as --output"
        )
    if found and not overwrite:
        raise FileExistsError(f"{folder} exists already: pass --overwrite to replace it")
