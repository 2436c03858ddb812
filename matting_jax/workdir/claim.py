"""The folder of one run: its config, and that no other run mixes with it."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from matting_jax.config import flatten, read_config
from matting_jax.files import written_whole

# Fields that change what a run costs, what it shows, and how long it goes on; the schedules that
# end at `steps` then take the new end.
FREE = (
    "steps",
    "log_every",
    "evaluate_every",
    "save_every",
    "preview_images",
    "allocator",
    "compilation_cache",
    "data.directory",
    "data.cache",
    "data.workers",
    "data.keep_decoded",
)


def claim(workdir: Path, config: ConfigDict) -> None:
    """Make `workdir` the folder of this config, or check that it is.

    Raises ValueError that lists each field in which the run in the folder differs; those in FREE
    may, and the new ones are kept.
    """
    path = workdir / "config.json"
    if path.exists():
        old, new = flatten(read_config(workdir)), flatten(config)
        differing = [
            f"{field} is {old.get(field)!r} there, {new.get(field)!r} here"
            for field in sorted(old.keys() | new.keys())
            if field not in FREE and old.get(field) != new.get(field)
        ]
        # A first try that ended before its first checkpoint leaves nothing that could be mixed.
        if differing and any((workdir / "checkpoints").glob("*[0-9]*")):
            raise ValueError(
                f"{workdir} holds a run of another config; choose another --workdir, or undo:\n  "
                + "\n  ".join(differing)
            )
    # What begins with a dot is left of a config that was being written when the program was killed.
    elif workdir.exists() and any(
        x.name != "evaluation" and not x.name.startswith(".") for x in workdir.iterdir()
    ):
        raise ValueError(f"{workdir} is not empty and holds no run: choose another --workdir")
    with written_whole(path) as file:
        file.write_text(config.to_json(indent=2) + "\n")
