"""Lets the disk become full while each program writes, and counts how the programs end.

python -m tests.full_disk --tries 6
mount -t tmpfs -o size=8m tmpfs DIR; python -m tests.full_disk --tries 12 --folder DIR

Every program is run once with room enough, and then with too little: in an empty folder of a small
file system that is filled up, or without --folder by a limit on the size of each file. A try is
counted as

    complete    nothing was missing
    plain       the exit code is 1 or 2, the last message of the program, or of a run of its sweep,
                is one line with the path, there is no traceback, and every file that is left can
                be read; the part of a download is kept
    other       anything else, which is printed; the exit code is then 1

After each try that failed the same command must succeed as soon as there is room.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from matting_jax.commandline import main as command_line
from matting_jax.convert import to_state_dict
from matting_jax.convert.fetch import fetch
from matting_jax.convert.files import write_state_dict
from matting_jax.data.prepared.builders import load_builder
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.clips import composites, moving_alpha, write_clip
from tests.helpers import draw_images, save_image, use_folders
from tests.limits import file_limit
from tests.plates import write_builder
from tests.tiny import RECIPE, register_tiny, tiny_config

HANG = 300  # seconds after which a program counts as hanging


class Program(NamedTuple):
    """The arguments of a program that writes into `folder`, and those to run it again."""

    arguments: list[str]
    again: list[str] = []  # noqa: RUF012 (never changed)


def programs(given: Path, folder: Path) -> dict[str, Program]:
    """Returns all programs by name.

    Args:
        given: what `prepare` wrote.
        folder: where the results go.
    """
    run = [f"--workdir={given / 'run'}", f"--checkpoint={given / 'w.safetensors'}"]
    photos, overwrite = [f"--input={given / 'photos'}"], ["--overwrite"]
    clip = ["predict", *run, f"--input={given / 'clip.mkv'}"]
    compared = [f"--{kind}={given / 'images/test/alpha'}" for kind in ("predictions", "truths")]
    recipe = [f"--config={given / 'recipe.py'}", f"--workdir={folder / 'run'}"]
    found = {
        "train": Program(["train", *recipe]),
        "prepare a data set": Program(
            ["prepare", "tiny_plates", str(folder / "prepared"), str(given / "builders")]
        ),
        "train, data cache": Program(
            [
                "train",
                *recipe,
                f"--config.data.cache={folder / 'cache'}",
                "--config.data.foreground_colours=estimate",
            ]
        ),
        "predict": Program(["predict", *run, *photos, f"--output={folder / 'out'}"], overwrite),
        "evaluate": Program(["evaluate", *run, "--save", f"--output={folder / 'out'}"], overwrite),
        "evaluate folders": Program(["evaluate", *compared, f"--output={folder / 'out'}"]),
        "evaluate a share": Program(
            ["evaluate", *run, f"--output={folder / 'out'}", "--shard=1/2"], overwrite
        ),
        "benchmark": Program(
            ["benchmark", *recipe[:1], "--size=32x32", f"--output={folder / 'b.json'}"]
        ),
    }
    found["sweep"] = Program(
        ["sweep", f"--sweep={given / 'rows.py'}", f"--workdir={folder / 'sweep'}"]
    )
    found["fetch"] = Program(
        ["fetch", serve(given / "w.safetensors"), str(folder / "fetched.safetensors")]
    )
    for name in ("alpha.mp4", "alpha.mkv", "cut.webm", "cut.mov", "frames"):
        found[f"predict {name}"] = Program([*clip, f"--output={folder / name}"], overwrite)
    for kind in ("safetensors", "pdparams", "ckpt"):
        arguments = ["convert", *run, f"--output={folder / f'w.{kind}'}"]
        found[f"convert .{kind}"] = Program(arguments, overwrite)
    for name in ("w.stablehlo", "w.onnx", "w.tflite", "w/"):
        arguments = ["export", *run, "--size=32x32", f"--output={folder}/{name}"]
        found[f"export {name}"] = Program(arguments, overwrite)
    return found


def prepare(folder: Path) -> Path:
    """Writes photos, a clip, weights, recipes and a run of the tiny network."""
    config = use_folders(tiny_config(), draw_images(folder / "images"), "")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "w.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = rng.integers(0, 256, (96, 64, 3), np.uint8)
        save_image(noise, folder, "photos", f"{number}.png")
    frames = composites(moving_alpha(12, 96, 128)) ^ rng.integers(0, 64, (12, 96, 128, 3), np.uint8)
    write_clip(folder / "clip.mkv", frames, "ffv1", "bgra")
    (folder / "builders").mkdir()
    write_builder(folder / "builders")
    recipe = RECIPE.format(folders=str(folder / "images"), cache="")
    (folder / "recipe.py").write_text(recipe)
    rows = f'CONFIG = "{folder}/recipe.py"\ndef sweep(add):\n    add("a")\n    add("b", steps=3)\n'
    (folder / "rows.py").write_text(rows)
    return folder


@cache
def serve(path: Path) -> str:
    """Returns the address of a file, which a server of this process sends while it lasts."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Silent, directory=path.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/{path.name}"


class Ending(NamedTuple):
    """The exit code of a program, and what it wrote to stdout and stderr."""

    code: int
    text: str


def launch(arguments: Sequence[str]) -> Ending:
    """Runs the command line in this process; what C++ writes is captured too."""
    read, write = os.pipe()
    kept, parts = [os.dup(number) for number in (1, 2)], []

    def collect() -> None:
        while part := os.read(read, 65536):
            parts.append(part)

    reader = threading.Thread(target=collect)
    reader.start()
    watch = threading.Timer(HANG, os._exit, [70])
    watch.daemon = True
    watch.start()
    try:
        for number in (1, 2):
            os.dup2(write, number)
        with (
            open(os.dup(1), "w", buffering=1) as out,
            open(os.dup(2), "w", buffering=1) as errors,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            run = {"prepare": prepare_data, "fetch": fetch_file}.get(arguments[0], command_line)
            code = run(["full_disk", *arguments], "")
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(write)
        watch.cancel()
        reader.join()
        os.close(read)
    return Ending(code, b"".join(parts).decode(errors="replace"))


def prepare_data(arguments: Sequence[str], usage: str) -> int:
    """Prepares a data set of a builder that the command line does not know; ends as it does."""
    return end(load_builder, arguments)


def fetch_file(arguments: Sequence[str], usage: str) -> int:
    """Downloads a file to a place that the command line does not know; ends as it does."""
    address, path = arguments[2:]
    return end(fetch, [*arguments[:2], address, Path(path)])


def end(function: Callable, arguments: Sequence) -> int:
    """Calls a function with the arguments after the first two; returns an exit code."""
    try:
        function(*arguments[2:])
    except Exception as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OSError) else 1
    return 0


@contextlib.contextmanager
def filled_up(folder: Path, size: int) -> Iterator[None]:
    """Leaves `size` bytes of the file system of `folder` free within the block."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(folder).free - size, 1))
    try:
        yield
    finally:
        filler.unlink()


def files_in(folder: Path) -> list[Path]:
    """Returns all files in a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def faults(folder: Path) -> Iterator[str]:
    """Yields what is wrong with the files that a program left in a folder."""
    for path in files_in(folder):
        place = path.relative_to(folder)
        if "checkpoints" in place.parts:
            continue  # Orbax removes unfinished ones at the next start
        if path.name.startswith("fetched.safetensors.part"):
            continue  # the next download resumes it
        if (
            path.name.startswith(".") and path.suffix != ".lock" and path.name != ".lock"
        ) or ".part" in path.name:
            yield f"{place} is left"
        try:
            read(path)
        except Exception as error:
            yield f"{place} is unreadable: {error}"


def read(path: Path) -> None:
    """Reads a file, as its extension says; raises an error if it is damaged."""
    match path.suffix:
        case ".png" | ".jpg":
            with Image.open(path) as image:
                image.load()
        case ".json":
            json.loads(path.read_text())
        case ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
        case ".csv":
            with path.open(newline="") as file:
                assert next(csv.reader(file))
        case ".mp4" | ".mkv" | ".webm" | ".mov":
            from matting_jax.data.clips.reader import open_clip

            assert sum(1 for _ in open_clip(path).read())


def judge(ending: Ending, folder: Path) -> tuple[str, list[str]]:
    """Returns how a program ended, and what is wrong with it."""
    problems = list(faults(folder))
    if ending.code == 0:
        return ("other" if problems else "complete"), problems
    lines = ending.text.splitlines()
    if ending.code not in (1, 2):
        problems.append(f"exit code {ending.code}")
    if "Traceback" in ending.text or "Exception" in ending.text:
        problems.append("traceback")
    messages = [x for x in lines if x.startswith(("full_disk: ", "matting_jax: "))]
    last = messages[-1] if messages else ""
    if not (last and str(folder) in last and len(last) < 400):
        problems.append("no error message with the path")
    elif not any(words in last for words in ("disk is full", "ulimit")):
        problems.append("the error message does not say why")
    return ("other" if problems else "plain"), problems


def try_program(
    name: str, given: Path, folder: Path, tries: int, rng: random.Random, small: Path | None
) -> Counter:
    """Runs one program with too little room `tries` times, and counts how it ended."""

    def empty() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    program = programs(given, empty())[name]
    whole = launch(program.arguments)
    if whole.code:
        raise RuntimeError(f"{name} fails with room enough:\n{whole.text}")
    sizes = [
        path.stat().st_blocks * 512 if small else path.stat().st_size for path in files_in(folder)
    ]
    most = sum(sizes) if small else max(sizes)
    counts = Counter()
    for _ in range(tries):
        room = rng.randrange(most)
        empty()
        with filled_up(small, room) if small else file_limit(room):
            ending = launch(program.arguments)
        outcome, problems = judge(ending, folder)
        if outcome == "plain":
            again = launch([*program.arguments, *program.again])
            if again.code:
                outcome, problems = "other", [f"the same command fails later: {again.text[-600:]}"]
        counts[outcome] += 1
        if outcome == "other":
            print(f"{name}, {room} of {most} bytes: {'; '.join(problems)}\n{ending.text[-1500:]}\n")
    empty()
    return counts


def run(
    tries: int, seed: int, folder: Path, small: Path | None, only: Sequence[str] = ()
) -> Counter:
    """Runs all programs with too little room, or `only` some, prints and returns the counts."""
    register_tiny()
    jax.config.update("jax_disable_most_optimizations", True)
    (folder / "given").mkdir()
    given = prepare(folder / "given")
    target = (small or folder) / "results"
    rng, total = random.Random(seed), Counter()
    for name in programs(given, target):
        if name in (only or name):
            counts = try_program(name, given, target, tries, rng, small)
            print(f"{name:20} " + ", ".join(f"{n} {x}" for x, n in counts.items()), flush=True)
            total += counts
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty folder of a small file system")
    parser.add_argument("--only", nargs="*", help="names of programs, as the output has them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run(
            arguments.tries, arguments.seed, Path(folder), arguments.folder, arguments.only
        )
    print(", ".join(f"{counts[name]} {name}" for name in ("complete", "plain", "other")))
    return int(counts["other"] > 0)


if __name__ == "__main__":
    sys.exit(main())
