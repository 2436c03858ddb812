"""Sweep files: the runs of a table, each with overrides of a recipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from matting_jax.addresses import check_fields
from matting_jax.choices import one_of
from matting_jax.config import (
    import_config_file,
    load_config,
    named_errors,
    override,
    split_variant,
)
from matting_jax.files import shipped_folder
from matting_jax.tasks import check_config

# What a sweep file defines, and names that are no row's in the folder of a sweep.
KINDS = {"CONFIG": "the text of --config", "SEEDS": "a whole number", "CLUSTER": "a dict"}
TAKEN = ("", ".", "..", "jobs", "sweep.csv", "sweep.md", "sweep.png")


@dataclass(frozen=True)
class Run:
    """One training of a sweep: `name` of its overrides, its seed and its complete config."""

    name: str
    seed: int
    workdir: Path
    overrides: tuple[str, ...]  # --config.FIELD=VALUE, as on the command line
    config: ConfigDict

    def command(self, recipe: str) -> list[str]:
        """Returns the command line that trains this run, or resumes it."""
        program = [sys.executable, "-m", "matting_jax", f"--config={recipe}"]
        return [*program, f"--workdir={self.workdir}", *self.overrides]

    def is_finished(self) -> bool:
        """Returns whether the last checkpoint is that of the last step."""
        return (self.workdir / "checkpoints" / str(self.config.steps)).is_dir()


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep file, and what `--cluster` passes to submitit."""

    recipe: str
    runs: list[Run]
    cluster_options: dict[str, Any]


def read_sweep(
    path: Path, folder: Path, overrides: Sequence[str] = (), seeds: int | None = None
) -> Sweep:
    """Reads a sweep file, and checks the config of each of its runs.

    Args:
        path: the file. It defines CONFIG, a recipe as of --config, and sweep(add), which calls
            add(name, **{"task.detail_weight": 0.0}) for each row of the table. It may define SEEDS,
            the number of seeds, and CLUSTER, parameters of submitit's executor. A bare name is a
            file of configs/sweeps.
        folder: where the runs go, FOLDER/NAME/seed_N.
        overrides: --config.FIELD=VALUE for all runs; they count before those of a row.
        seeds: number of seeds, in place of the file's.

    Returns:
        The sweep, its runs in the order of the file, all seeds of a row in succession.

    Raises:
        ValueError: the file is not a sweep, or a config is invalid; the message names the row.
        FileNotFoundError: there is no such file.
    """
    path = find_sweep(path)
    module = import_config_file(path)
    for name in ("CONFIG", "sweep"):
        if not hasattr(module, name):
            raise ValueError(f"{path} is no sweep: it must define CONFIG and sweep(add)")
    for name, value, kind in (
        ("CONFIG", module.CONFIG, str),
        ("SEEDS", getattr(module, "SEEDS", 1), int),
        ("CLUSTER", getattr(module, "CLUSTER", {}), Mapping),
    ):
        if not isinstance(value, kind):
            raise ValueError(f"{name} of {path} must be {KINDS[name]}, got {value!r}")
    count = getattr(module, "SEEDS", 1) if seeds is None else seeds
    if count < 1:
        raise ValueError(f"--seeds must be at least 1, got {count}")
    rows: dict[str, dict[str, Any]] = {}

    def add(name: str, /, **fields: Any) -> None:
        if name in rows:
            raise ValueError(f"two rows have the name {name!r}")
        check_name(name)
        rows[name] = fields

    with named_errors(path):
        module.sweep(add)
    if not rows:
        raise ValueError(f"{path} adds no row: call add(NAME, **OVERRIDES) in sweep(add)")
    recipe = split_variant(module.CONFIG)
    override(load_config(*recipe), overrides)  # their errors belong to no row
    runs = []
    for name, fields in rows.items():
        own = [f"--config.{field}={value}" for field, value in fields.items()]
        for number in range(count):
            try:
                config = override(load_config(*recipe), (*overrides, *own))
                config.seed += number
                check_config(config)
                check_fields(config)
            except ValueError as error:
                raise ValueError(f"row {name!r} of {path}: {error}") from error
            words = (*overrides, *own, f"--config.seed={config.seed}")
            workdir = folder / name / f"seed_{config.seed}"
            runs.append(Run(name, config.seed, workdir, words, config))
    return Sweep(module.CONFIG, runs, dict(getattr(module, "CLUSTER", {})))


def check_name(name: Any) -> None:
    """Raises ValueError unless a name can be that of a row: a folder, and a cell of a table."""
    if not isinstance(name, str):
        raise ValueError(f"the name of a row must be text, got {name!r}")
    if Path(name).name != name or name in TAKEN:
        raise ValueError(f"the name {name!r} cannot be that of a folder")
    if name != name.strip() or "|" in name or not name.isprintable():
        raise ValueError(f"the name {name!r} cannot stand in a table: omit | and line ends")


def find_sweep(path: Path) -> Path:
    """Returns the file of a sweep, that of the library for a bare name that is no file."""
    if path.is_file():
        return path
    if path.suffix or path.name != str(path):
        raise FileNotFoundError(f"there is no sweep file {path}")
    shipped = {x.stem: x for x in sorted((shipped_folder("configs") / "sweeps").glob("*.py"))}
    return shipped[one_of(str(path), shipped, "sweep")]
