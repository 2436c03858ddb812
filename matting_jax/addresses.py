"""Refuses addresses, such as gs://BUCKET/RUN, where only local files and folders are read."""

from __future__ import annotations

from ml_collections import ConfigDict

from matting_jax.config import flatten

# Weights are fetched from addresses, and TFDS reads prepared data sets from buckets.
REMOTE_FLAGS = ("checkpoint", "trimap_from")
REMOTE_FIELDS = ("init.checkpoint", "init.backbone", "data.directory")


def check_flag(name: str, value: str) -> None:
    """Raises ValueError if the path of a flag is an address that its program cannot use."""
    if "://" in value and name not in REMOTE_FLAGS:
        raise ValueError(refusal(f"--{name}", value))


def check_fields(config: ConfigDict) -> None:
    """Raises ValueError that names the first field whose address cannot be used."""
    for field, value in flatten(config).items():
        if isinstance(value, str) and "://" in value and field not in REMOTE_FIELDS:
            raise ValueError(refusal(f"--config.{field}", value))


def refusal(name: str, value: str) -> str:
    """Returns the error message for an address."""
    return (
        f"{name} must be a local file or folder, got {value}: mount the bucket (gcsfuse, s3fs) and "
        "give the folder, or copy it"
    )
