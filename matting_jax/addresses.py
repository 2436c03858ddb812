"""Refuses addresses, such as gs://BUCKET/RUN, where only local files and folders are read."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from matting_jax.config import flatten

# Files of weights are fetched from these addresses.
FETCHED = ("http://", "https://", "hf://")
WEIGHTS = ("checkpoint", "trimap_from", "config.init.checkpoint", "config.init.backbone")


def check_flag(name: str, value: str) -> None:
    """Raises ValueError if the path of a flag is an address that its program cannot use."""
    if not is_address(value):
        return
    if name == "workdir":
        raise ValueError(workdir_message("--workdir", value))
    if name not in WEIGHTS or not value.startswith(FETCHED):
        raise ValueError(refusal(f"--{name}", value))


def check_fields(config: ConfigDict) -> None:
    """Raises ValueError that names the first field whose address cannot be used."""
    for field, value in flatten(config).items():
        if isinstance(value, str):
            check_flag(f"config.{field}", value)


def check_workdir(path: Path) -> None:
    """Raises ValueError if a path was made from an address, which would name a local folder."""
    first = path.parts[0] if path.parts else ""
    # A single letter before the colon is a drive.
    if first.endswith(":") and len(first) > 2:
        address = f"{first}//{'/'.join(path.parts[1:])}"
        raise ValueError(workdir_message("the workdir", address))


def is_address(value: str) -> bool:
    """Returns whether a path is an address with a scheme."""
    return "://" in value


def workdir_message(name: str, value: str) -> str:
    """Returns the error message for a workdir at an address."""
    return (
        f"{name} must be a local folder, got {value}: train in a local folder and copy it there "
        'while the training runs, by the script under "Buckets" in docs/clusters.md'
    )


def refusal(name: str, value: str) -> str:
    """Returns the error message for an address."""
    what = ", or an address of http, https or hf" if name.removeprefix("--") in WEIGHTS else ""
    return (
        f"{name} must be a local file or folder{what}, got {value}: mount the bucket "
        "(gcsfuse, s3fs) and give the folder, or copy it"
    )
