"""The table and the plot of a sweep, from the curves of its runs."""

from __future__ import annotations

import csv
import json
import logging
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matting_jax.files import write_atomically
from matting_jax.tasks import find_task
from matting_jax.training.sweep_file import Run

TEST = "test_"  # what the names of test scores begin with in metrics.jsonl

logger = logging.getLogger("matting_jax")


def write_table(runs: Sequence[Run], folder: Path, failed: Mapping[Path, str]) -> None:
    """Writes sweep.csv, sweep.md and, if matplotlib is installed, sweep.png.

    Args:
        runs: all runs of the sweep, those of one name in succession.
        folder: folder of the sweep.
        failed: reason by workdir for the runs that failed.
    """
    rows = [best_row(run, failed) for run in runs]
    metrics = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    with write_atomically(folder / "sweep.csv") as path, path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "seed", "state", "step", *metrics, "overrides"])
        for row in rows:
            scores = [row["scores"].get(name, "") for name in metrics]
            start = [row["name"], row["seed"], row["state"], row["step"]]
            table.writerow([*start, *scores, " ".join(row["overrides"])])
    with write_atomically(folder / "sweep.md") as path:
        path.write_text(markdown(rows, metrics))
    if metrics:
        draw(rows, metrics[0], folder / "sweep.png")


def best_row(run: Run, failed: Mapping[Path, str]) -> dict:
    """Returns name, state and overrides of a run, and the scores of its best checkpoint.

    The state is "finished", "failed", or the last step that was logged.
    """
    lines = read_lines(run.workdir / "metrics.jsonl")
    score = find_task(run.config.task.name).score
    curve = []
    for line in lines:
        scores = {k.removeprefix(TEST): v for k, v in line.items() if k.startswith(TEST)}
        if scores and line["step"] > 0:
            curve.append((line["step"], scores))
    step, scores = min(curve, key=lambda x: score(x[1]), default=("", {}))
    state = "finished" if run.is_finished() else f"step {lines[-1]['step'] if lines else 0}"
    if run.workdir in failed:
        state = "failed"
    return {
        "name": run.name,
        "seed": run.seed,
        "state": state,
        "step": step,
        "scores": scores,
        "overrides": [x for x in run.overrides if not x.startswith("--config.seed=")],
    }


def read_lines(path: Path) -> list[dict]:
    """Returns the lines of a metrics.jsonl, without one that is being written."""
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def markdown(rows: Sequence[dict], metrics: Sequence[str]) -> str:
    """Returns a table with one line a name: mean and sample deviation over the finished seeds.

    Overrides that all rows share follow below it.
    """
    shared = [x for x in rows[0]["overrides"] if all(x in row["overrides"] for row in rows)]
    head = ["row", "seeds", *metrics, "overrides"]
    lines = [head, ["---"] * len(head)]
    for name in dict.fromkeys(row["name"] for row in rows):
        group = [row for row in rows if row["name"] == name]
        finished = [row for row in group if row["state"] == "finished"]
        cells = [
            mean_and_deviation([row["scores"][m] for row in finished if m in row["scores"]])
            for m in metrics
        ]
        others = [f"seed {row['seed']}: {row['state']}" for row in group if row not in finished]
        seeds = ", ".join([str(len(finished)), *others])
        own = [x for x in group[0]["overrides"] if x not in shared]
        lines.append([name, seeds, *cells, quote(own)])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\nAll rows: {quote(shared)}\n" if shared else table


def quote(words: Sequence[str]) -> str:
    """Returns words as code of Markdown, quoted where a shell needs it."""
    return " ".join(f"`{shlex.quote(word)}`" for word in words)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Returns "MEAN" of one value, "MEAN ± DEVIATION" (n - 1) of several, "" of none."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2g}"


def draw(rows: Sequence[dict], metric: str, path: Path) -> None:
    """Draws one score of all finished runs, a point a seed and a bar at the mean of each name."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no plot of the sweep: pip install 'matting_jax[sweep]' for matplotlib")
        return
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = Figure(figsize=(7, 1 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    for position, name in enumerate(names):
        values = [
            row["scores"][metric]
            for row in rows
            if row["name"] == name and row["state"] == "finished" and metric in row["scores"]
        ]
        if values:
            axes.barh(position, statistics.mean(values), color="#9fc5c0", height=0.6)
            axes.plot(values, [position] * len(values), "o", color="#14524c", markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric} of the best checkpoint")
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=150)
