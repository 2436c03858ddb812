"""Configs: read from recipes and workdirs, overridden from the command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from matting_jax.choices import one_of


def split_variant(spec: str) -> tuple[Path, str]:
    """FILE and VARIANT of FILE:VARIANT."""
    path, _, variant = spec.partition(":")
    return Path(path), variant


def load_config(path: Path, variant: str) -> ConfigDict:
    """What `get_config` of a config file returns for a variant."""
    if not path.is_file():
        others = [str(other) for other in (path.parent or Path()).glob("*.py")]
        if others:
            one_of(str(path), others, "config file")
        raise FileNotFoundError(f"there is no config file {path}")
    spec = importlib.util.spec_from_file_location("matting_jax_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not variant:
        return module.get_config()
    variants = getattr(module, "VARIANTS", ())
    if not variants:
        raise ValueError(f"{path} has no variants: leave out :{variant}")
    return module.get_config(one_of(variant, variants, f"variant of {path}"))


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """`config` with the fields that the command line sets."""
    fields = flat(config)
    last = {}  # of a field that is set twice the last value counts; of tuples absl joins them
    for argument in overrides:
        name = argument.partition("=")[0].removeprefix("--no").removeprefix("--")
        last[one_of(name.removeprefix("config."), fields, "field of the config")] = argument
    arguments = ["launch.py", *last.values()]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=parsed, sys_argv=arguments)
    try:
        parsed(arguments)
    except flags.Error as error:
        raise ValueError(f"{error} (set a field by --config.FIELD=VALUE)") from error
    for name in last:
        check_tuple(name, flat(config)[name], fields[name])
    return parsed.config


def check_tuple(name: str, value: Any, default: Any) -> None:
    """Raise ValueError where a field that holds a tuple of numbers was given something else.

    A tuple of one number stands for a list of any length, and so does one of pairs.
    """
    if not isinstance(default, tuple) or any(isinstance(x, tuple) for x in default):
        return
    if str in map(type, value) or len(value) != len(default) and len(default) > 1:
        raise ValueError(f"--config.{name} takes {len(default)} numbers, as {default}")


def read_config(workdir: Path) -> ConfigDict:
    """The config of the run in `workdir`; FileNotFoundError where there is none."""
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} is no workdir: it has no config.json")
    return ConfigDict(with_tuples(json.loads(path.read_text())))


def with_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were in the config."""
    if isinstance(value, dict):
        return {name: with_tuples(x) for name, x in value.items()}
    return tuple(with_tuples(x) for x in value) if isinstance(value, list) else value


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{dotted field: value} of a config."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
