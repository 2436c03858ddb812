"""The identity of weights: their network, its keywords and test-time options, and their origin.

It is written with every file, in the metadata of .safetensors and, for other formats, in FILE.json.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util
from ml_collections import ConfigDict

import matting_jax
from matting_jax.config import complete, flatten, read_config, restore_tuples
from matting_jax.convert.files import (
    read_metadata,
    suffix_of,
    write_format,
    write_state_dict,
)
from matting_jax.convert.names import StateDict
from matting_jax.convert.tables import RUN_KEYWORDS, find_names
from matting_jax.files import write_atomically
from matting_jax.models import create_model, rule_options

KEY = "matting_jax"  # of the metadata, and of the version in a record
# Fields of a config that hold paths of one machine, which are not written into files of weights.
LOCAL = (
    "compilation_cache",
    "init.backbone",
    "init.checkpoint",
    "data.cache",
    "data.directory",
    *(
        f"data.train.{x}"
        for x in ("foregrounds", "backgrounds", "images", "photos", "list", "root")
    ),
    *(f"data.{part}.{x}" for part in ("train", "test") for x in ("images", "list", "root")),
)

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Identity:
    """Identifies a set of weights.

    Attributes:
        network: name of the network.
        keywords: its keywords, as for `create_model`; the others have their defaults.
        test_time: options of its test-time rule; the others have their defaults.
        origin: where the weights come from: `run` and `step`, `file`, `name`, `address`.
        config: fields of the config that belong to the weights, all of them for those of a run.
    """

    network: str
    keywords: Mapping[str, Any] = field(default_factory=dict)
    test_time: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """Where the weights come from, in a few words."""
        return self.origin.get("name") or self.origin.get("file") or self.origin.get("run", "")

    def with_origin(self, **origin: Any) -> Identity:
        """Returns the identity with more entries of its origin."""
        return replace(self, origin={**self.origin, **origin})


def identity_of_run(workdir: Path) -> Identity:
    """Returns the identity of the weights in a workdir; raises FileNotFoundError if it is none."""
    config = read_config(workdir)
    origin = {"run": workdir.resolve().name}
    return Identity(
        config.name, dict(config.model), dict(config.test_time), origin, config.to_dict()
    )


def config_of(identity: Identity) -> ConfigDict:
    """Returns the config to predict and to evaluate with.

    Fields that the identity does not hold have their defaults, or what the network needs; the task
    is that of its name. All keywords and options of the network are fields.
    """
    model = create_model(identity.network, **identity.keywords)
    fields = {"name": identity.network, "task.name": identity.network, **find_names(model).config}
    fields |= flatten(ConfigDict(restore_tuples(identity.config or {})))
    config = complete(ConfigDict(traverse_util.unflatten_dict(fields, sep=".")))
    config.model = ConfigDict(keywords_of(model))
    config.test_time = ConfigDict(rule_options(identity.network) | dict(identity.test_time))
    return config


def keywords_of(model: nn.Module) -> dict[str, Any]:
    """Returns all keywords of a network except those that only change how it runs."""
    names = [x.name for x in dataclasses.fields(model) if x.name not in RUN_KEYWORDS]
    return {name: getattr(model, name) for name in names}


def differences(identity: Identity, model: nn.Module, test_time: Mapping[str, Any]) -> list[str]:
    """Returns the fields in which a network differs from that of its weights, one string each.

    Args:
        identity: that of the weights.
        model: the network.
        test_time: options of its test-time rule.
    """
    trained = create_model(identity.network, **identity.keywords)
    options = rule_options(identity.network)
    theirs = keywords_of(trained) | options | dict(identity.test_time)
    ours = keywords_of(model) | options | dict(test_time)
    return [
        f"{name} is {ours[name]!r}, theirs {value!r}"
        for name, value in theirs.items()
        if name in ours and ours[name] != value
    ]


# Variables are plain dicts, as JAX needs them: the identity is found by one of their arrays.
_KNOWN: dict[int, tuple[weakref.ref, Identity]] = {}


def remember(variables: Mapping[str, Any], identity: Identity) -> None:
    """Remembers the identity of `variables`, as long as their arrays are in use."""
    first = jax.tree.leaves(variables)[0]
    key = id(first)
    _KNOWN[key] = (weakref.ref(first, lambda _: _KNOWN.pop(key, None)), identity)


def recall(variables: Mapping[str, Any]) -> Identity | None:
    """Returns the identity of `variables`, None if they were made otherwise than by loading."""
    leaves = jax.tree.leaves(variables)
    found, identity = _KNOWN.get(id(leaves[0]) if leaves else 0, (None, None))
    return identity if found and found() is leaves[0] else None


def as_record(identity: Identity) -> dict[str, Any]:
    """Returns the identity as it is written, without paths of this machine."""
    record = {
        KEY: matting_jax.__version__,
        "network": identity.network,
        "keywords": dict(identity.keywords),
        "test_time": dict(identity.test_time),
        "origin": dict(identity.origin),
    }
    return record | ({"config": without_paths(identity.config)} if identity.config else {})


def without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config without paths of this machine, and without the data sets that they replace.

    Missing fields have their defaults when the config is read.
    """
    fields = flatten(ConfigDict(dict(config)))
    replaced = [name.rpartition(".")[0] for name in LOCAL if "." in name and fields.get(name)]
    replaced = [f"{group}.{x}" for group in replaced for x in ("dataset", "background_dataset")]
    kept = {name: x for name, x in fields.items() if name not in (*LOCAL, *replaced)}
    return traverse_util.unflatten_dict(kept, sep=".")


def from_record(record: Mapping[str, Any], path: Path) -> Identity | None:
    """Returns the identity in the record of a file of weights, None if it has no network.

    Raises ValueError for a record that this library cannot have written.
    """
    if "network" not in record:
        return None
    known = {x: record.get(x) or {} for x in ("keywords", "test_time", "origin")}
    config = record.get("config")
    groups = [*known.values(), config or {}]
    if not isinstance(record["network"], str) or not all(isinstance(x, dict) for x in groups):
        raise ValueError(f"the record of {path} is damaged: convert its weights again")
    return Identity(record["network"], **restore_tuples(known), config=config)


def side_car(path: Path) -> Path:
    """Returns the path of the record of a file of weights."""
    return path.with_name(f"{path.name}.json")


def read_record(path: Path) -> dict[str, Any] | None:
    """Returns the record of a file of weights, None if this library wrote none."""
    try:
        return parse_record(side_car(path).read_text())
    except (OSError, UnicodeDecodeError):
        return None


def parse_record(text: str) -> dict[str, Any] | None:
    """Returns the record in a text, None if this library did not write it."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and KEY in record else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a file of weights next to the file."""
    with write_atomically(side_car(path)) as file:
        file.write_text(json.dumps(record, indent=2) + "\n")


def read_identity(path: Path) -> Identity | None:
    """Returns the identity that was written with a file of weights, None if there is none.

    A record of other weights is ignored, with a warning.
    """
    record = read_record(path)
    if record and record.get("sha256") != sha256_of(path):
        logger.warning(f"{side_car(path)} is the record of another file and is ignored")
        record = None
    if record is None and suffix_of(path) == ".safetensors":
        record = parse_record(read_metadata(path).get(KEY, ""))
    return from_record(record or {}, path)


def write_weights(path: Path, state_dict: StateDict, identity: Identity) -> None:
    """Writes {official name: array} with their identity, see the module."""
    record = as_record(identity)
    if suffix_of(path) == ".safetensors":
        write_state_dict(path, state_dict, {KEY: json.dumps(record)})
        return
    with write_atomically(path) as file:
        write_format(suffix_of(path), file, state_dict)
        write_record(path, record | {"sha256": sha256_of(file)})


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
