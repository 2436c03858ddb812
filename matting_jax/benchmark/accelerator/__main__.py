"""Measures networks, training steps and the forms of layers on an accelerator.

    python -m matting_jax.benchmark.accelerator [--minutes 8] [--output FILE.json]
        [--parts frames training ...] [--seconds 0.5] [--threads 4] [--small]

Frames of the real-time networks first, then training steps, the forward passes of all networks,
the forms of layers, and large photos. What --minutes leaves no time for is skipped. Weights are
random. As many programs as there are threads are compiled together and then timed, with nothing
compiled beside them: they share the device's autotuning, so more threads delay the first figures.
Each is printed as it is measured, and FILE holds all figures. A program that fails costs its line.

Columns: `compile` seconds from tracing to machine code; `peak` memory of weights, inputs, results
and temporary arrays, by XLA's plan; `ms` a call with everything on the device, calls queued one
behind the other; `with copies` a frame at a time, from the host and back; TFLOP/s counts two
operations a multiply-add.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax

from matting_jax.benchmark.accelerator.case import Case, Row, compile_case, time_case
from matting_jax.benchmark.accelerator.layers import layers
from matting_jax.benchmark.accelerator.networks import forwards, frames
from matting_jax.benchmark.accelerator.steps import steps

PARTS: dict[str, Callable[[bool], Iterable[Case]]] = {
    "frames": frames,
    "training": steps,
    "forward": partial(forwards, height=512, width=512),
    "layers": layers,
    "large": partial(forwards, height=1088, width=1920),
}
HEADINGS = (
    ("part", 18),
    ("program", 52),
    ("compile s", 10),
    ("peak MiB", 10),
    ("ms", 10),
    ("a second", 10),
    ("TFLOP/s", 8),
)
OTHERS = {
    "host_milliseconds": "{:.2f} ms with copies",
    "host_per_second": "{:.0f} a second",
    "published_per_second": "paper: {:.0f}",
    "dispatch_milliseconds": "dispatch {:.2f} ms",
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="limit of all parts")
    parser.add_argument("--output", type=Path, help="JSON file of all figures")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=0.5, help="timing of a program")
    parser.add_argument("--threads", type=int, default=4, help="programs compiled together")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program")
    flags = parser.parse_args(arguments)
    limit = time.monotonic() + 60 * flags.minutes
    report = {"device": describe_device(), "jax": jax.__version__, "rows": []}
    print(f"{report['device']}, JAX {report['jax']}")
    print("".join(name.ljust(width) for name, width in HEADINGS), flush=True)

    def add(case: Case, figures: Row) -> None:
        row = {"part": case.part, "program": case.name, **figures}
        report["rows"].append(row)
        print(table_line(row), flush=True)
        if flags.output:
            flags.output.write_text(json.dumps(report, indent=1))

    with ThreadPoolExecutor(flags.threads) as pool:
        for part in flags.parts:
            cases = iter(PARTS[part](flags.small))
            while group := list(islice(cases, flags.threads)):
                measure(group, pool, limit, flags.seconds, add)


def measure(
    cases: list[Case],
    pool: ThreadPoolExecutor,
    limit: float,
    seconds: float,
    add: Callable[[Case, Row], None],
) -> None:
    """Compiles some cases together, then times them one after the other.

    Args:
        cases: the programs.
        pool: threads that compile.
        limit: value of the monotonic clock after which nothing is started.
        seconds: for timing one program.
        add: takes each case with its figures, or with `error`.
    """
    compiled = [(case, pool.submit(start, case, limit)) for case in cases]
    wait([future for _, future in compiled], timeout=max(limit - time.monotonic(), 0))
    for case, future in compiled:
        add(case, measured(case, future, limit, seconds))


def start(case: Case, limit: float) -> tuple[Any, Row]:
    """Compiles a case unless the limit has passed, which raises TimeoutError."""
    check_limit(limit)
    return compile_case(case)


def check_limit(limit: float) -> None:
    """Raises TimeoutError after `limit`."""
    if time.monotonic() > limit:
        raise TimeoutError("no time left")


def measured(case: Case, future: Future, limit: float, seconds: float) -> Row:
    """Returns the figures of a case, or `error` if it failed or the time ran out."""
    row = {}
    try:
        if not future.done():
            check_limit(limit)
            raise TimeoutError("compilation takes too long")
        program, row = future.result()
        check_limit(limit)
        return time_case(case, program, row, seconds)
    except Exception as error:  # an error of XLA, of memory, of any network
        return row | {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


def describe_device() -> str:
    """Returns the name of the accelerator, and the number of them."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"


def table_line(row: Row) -> str:
    """Returns a line of the table."""
    names = ("compile_seconds", "peak_mib", "milliseconds", "per_second", "teraflops")
    digits = (1, 0, 3, 1, 2)
    cells = [row["part"], row["program"]]
    cells += [f"{row[x]:.{n}f}" if x in row else "" for x, n in zip(names, digits, strict=True)]
    line = "".join(cell.ljust(width) for cell, (_, width) in zip(cells, HEADINGS, strict=True))
    notes = [text.format(row[name]) for name, text in OTHERS.items() if name in row]
    return line + ", ".join([*notes, row.get("error", "")]).strip(", ")


if __name__ == "__main__":
    main(sys.argv[1:])
