"""Configs: recipes start from the defaults, the command line overrides, a workdir keeps them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from matting_jax.choices import one_of
from matting_jax.defaults import defaults
from matting_jax.files import shipped_folder

# What other programs call a field, by its last word.
SYNONYMS = {
    **dict.fromkeys(("lr", "rate", "base_lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize"), "batch_size"),
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs"), "steps"),
    **dict.fromkeys(("iters", "iterations", "max_steps", "num_steps"), "steps"),
    **dict.fromkeys(("wd", "l2"), "optimizer.weight_decay"),
    **dict.fromkeys(("optim", "opt", "optimizer"), "optimizer.name"),
    **dict.fromkeys(("beta1",), "optimizer.b1"),
    **dict.fromkeys(("beta2",), "optimizer.b2"),
    **dict.fromkeys(("clip", "grad_clip", "max_norm"), "optimizer.clip_norm"),
    **dict.fromkeys(("scheduler", "schedule", "lr_schedule"), "optimizer.schedule.name"),
    **dict.fromkeys(("warmup", "warmup_iters"), "optimizer.schedule.warmup_steps"),
    **dict.fromkeys(("ema",), "ema_decay"),
    **dict.fromkeys(("amp", "fp16", "bf16", "precision", "dtype"), "compute_dtype"),
    **dict.fromkeys(("accum", "grad_accum", "accumulation_steps"), "accumulate"),
    **dict.fromkeys(("crop_size", "image_size", "img_size", "resolution"), "data.crop.size"),
    **dict.fromkeys(("num_workers", "threads"), "data.workers"),
    **dict.fromkeys(("pretrained", "weights", "ckpt"), "init.checkpoint"),
    **dict.fromkeys(("log_interval", "print_every"), "log_every"),
    **dict.fromkeys(("eval_interval", "eval_every", "val_every"), "evaluate_every"),
    **dict.fromkeys(("save_interval", "ckpt_every"), "save_every"),
}
# Types of fields, for error messages.
TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a tuple",
    ConfigDict: "a group of fields",
}


def follow(group: ConfigDict, field: str) -> FieldReference:
    """Returns a value that follows `field` of `group` until it is set itself.

    A recipe ties by it an option of the test-time rule to the size of the training crops.
    """
    return group.get_ref(field) + 0


def split_variant(spec: str) -> tuple[Path, str]:
    """Returns FILE and VARIANT of FILE:VARIANT.

    A path may hold colons, as C:/x.py does: the longest part that is a file is FILE. A bare name,
    as modnet or modnet:paper, is that of a recipe of the library, unless there is such a file.
    """
    parts = spec.split(":")
    for count in range(len(parts), 0, -1):
        path = Path(":".join(parts[:count]))
        if path.is_file():
            return path, ":".join(parts[count:])
    path, colon, variant = spec.rpartition(":")
    # A single letter is a drive.
    path, variant = (Path(path), variant) if colon and len(path) > 1 else (Path(spec), "")
    return find_recipe(path), variant


def find_recipe(path: Path) -> Path:
    """Returns the file of the library's recipe if `path` is its bare name, else `path` itself.

    Raises ValueError for a bare name that no recipe has, with the closest one.
    """
    if path.suffix or path.name != str(path) or path.is_file():
        return path
    recipes = {file.stem: file for file in sorted(shipped_folder("configs").glob("*.py"))}
    return recipes[one_of(str(path), recipes, "recipe")]


def load_config(path: Path, variant: str) -> ConfigDict:
    """Returns `get_config()` of a recipe for a variant, with defaults for fields that it lacks."""
    if not path.is_file():
        others = [str(other) for other in (path.parent or Path()).glob("*.py")]
        if others:
            one_of(str(path), others, "config file")
        raise FileNotFoundError(f"there is no config file {path}")
    module = import_config_file(path)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} is no config: it must define get_config(), as configs/*.py do")
    arguments = ()
    if variant:
        variants = getattr(module, "VARIANTS", ())
        if not variants:
            raise ValueError(f"{path} has no variants: omit :{variant}")
        arguments = (one_of(variant, variants, f"variant of {path}"),)
    with named_errors(path):
        config = module.get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config() of {path} must return a ConfigDict, got {config!r:.80}")
    with named_errors(path):
        return complete(config)


def import_config_file(path: Path) -> ModuleType:
    """Returns the module of a recipe or sweep file; ValueError names a file that cannot be one."""
    if path.suffix != ".py":
        raise ValueError(f"--config {path} is not a Python file: give a recipe, such as modnet.py")
    spec = importlib.util.spec_from_file_location("matting_jax_config", path)
    module = importlib.util.module_from_spec(spec)
    with named_errors(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turns an exception of a config file into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"the config {path} fails: {kind}{' '.join(str(error).split())}"
        ) from error


def read_config(workdir: Path) -> ConfigDict:
    """Returns the config of the run in `workdir`, with defaults for fields that an older run lacks.

    Raises FileNotFoundError if `workdir` holds no run, and ValueError for a damaged file.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} is not a workdir: it has no config.json")
    try:
        fields = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        fault = "damaged or incomplete" if path.stat().st_size else "empty"
        raise ValueError(f"{path}, the config of the run, is {fault}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is no config of a run: it holds {fields!r:.80}")
    try:
        return complete(ConfigDict(restore_tuples(fields)))
    except ValueError as error:
        raise ValueError(f"{path} is no config of a run: {error}") from error


def restore_tuples(value: Any) -> Any:
    """Returns `value` of a JSON file with tuples in place of lists, as configs have them."""
    if isinstance(value, dict):
        return {name: restore_tuples(x) for name, x in value.items()}
    if isinstance(value, list):
        return tuple(restore_tuples(x) for x in value)
    return value


def complete(config: ConfigDict) -> ConfigDict:
    """Adds the fields of `defaults()` that `config` lacks, and returns it.

    Raises ValueError for a field of another type than its default.
    """
    with config.unlocked():
        add_missing(config, defaults())
    return config


def add_missing(group: ConfigDict, other: ConfigDict, prefix: str = "") -> None:
    """Adds the fields of `other` that `group` lacks, at any depth; `prefix` is its own field."""
    for name, value in other.items():
        if name not in group:
            group[name] = value
            continue
        check_type(prefix + name, group[name], value)
        if isinstance(value, ConfigDict):
            add_missing(group[name], value, f"{prefix}{name}.")


def check_type(field: str, value: Any, default: Any) -> None:
    """Raises ValueError for a value of another type than the default; floats may be integers."""
    if not (type(value) is type(default) or (type(default) is float and type(value) is int)):
        raise ValueError(f"{field} must be {TYPES[type(default)]}, got {value!r:.80}")


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """Returns `config` with the fields that the command line sets.

    Args:
        config: the config to change, whose fields are the valid ones.
        arguments: --config.FIELD=VALUE or --[no]config.FIELD; the last one of a field counts.

    Raises:
        ValueError: a field does not exist, or its value has the wrong type.
    """
    fields = flatten(config)
    synonyms = {word: field for word, field in SYNONYMS.items() if field in fields}
    last = {}  # absl would join the values of a tuple that is set twice
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--no").removeprefix("--")
        name = name.removeprefix("config.")
        last[one_of(name, fields, "field of the config", synonyms)] = argument
    command = ["launch.py", *last.values()]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=parsed, sys_argv=command)
    try:
        parsed(command)
    except flags.IllegalFlagValueError as error:
        raise ValueError(explain_value(str(error), last, fields)) from error
    except flags.Error as error:
        raise ValueError(f"{error} (set a field by --config.FIELD=VALUE)") from error
    changed = flatten(parsed.config)
    for name in last:
        if isinstance(fields[name], tuple):
            check_tuple(name, changed[name], fields[name])
    return parsed.config


def explain_value(message: str, last: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Returns absl's message for a wrong type in a user's words, given arguments and old values."""
    for name, argument in last.items():
        if message.startswith(f"flag {argument}:"):
            value, kind = argument.partition("=")[2], TYPES.get(type(fields[name]))
            return f"--config.{name} must be {kind}, got {value!r:.80}" if kind else message
    return message


def check_tuple(name: str, value: tuple, default: tuple) -> None:
    """Raises ValueError if `value` holds strings for numbers, or replaces a pair by no pair.

    Tuples of other lengths, and those of pairs or strings, are lists of any length.
    """
    if any(isinstance(x, str) for x in default):
        return
    if any(isinstance(x, str) for x in value):
        raise ValueError(f"--config.{name} takes numbers, like {default}, got {value}")
    is_pair = len(default) == 2 and not any(isinstance(x, tuple) for x in default)
    if is_pair and len(value) != 2:
        raise ValueError(f"--config.{name} takes 2 numbers, like {default}, got {value}")


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns {dotted field: value} of a config."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= flatten(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
