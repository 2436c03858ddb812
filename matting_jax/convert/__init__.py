"""Official checkpoints to Flax variables and back, exactly and completely.

A network's file here has its name and ends with `names_of(model)`, which returns its `Names`.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from matting_jax.convert.files import read_state_dict
from matting_jax.convert.names import LeafPath, Names, StateDict
from matting_jax.models import create_model, example_inputs, name_of

Variables = dict[str, Any]

# Axes of a kernel in the official order: HWIO is OIHW there, [in, out] is [out, in].
OFFICIAL_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
FLAX_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}
# Keywords that change how a network runs, not what it is.
RUN_KEYWORDS = ("dtype", "axis_name", "frozen_statistics", "form", "parent", "name")


def from_state_dict(name: str, state_dict: StateDict, **keywords: Any) -> Variables:
    """Returns Flax variables of network `name` from {official name: NumPy array}.

    Every official name is read exactly once; counters and constants may be missing. Where copies of
    one tensor differ, this warns and keeps the one that the official loader keeps. Raises
    ValueError that lists all missing and unexpected names and all wrong shapes.
    """
    return to_variables(create_model(name, **keywords), state_dict)


def to_state_dict(name: str, variables: Variables, **keywords: Any) -> dict[str, np.ndarray]:
    """Returns {official name: NumPy array}, with the official names, shapes and layout.

    Copies are written under each of their names, unused counters as zeros, constants with their
    values. Raises ValueError if `variables` are not those of network `name`.
    """
    return to_official(create_model(name, **keywords), variables)


def load_checkpoint(name: str, path: str | Path, **keywords: Any) -> Variables:
    """Returns Flax variables of network `name` from an official file or a workdir.

    Files: .ckpt, .pth and .pt (need torch, read with `weights_only=True`), .safetensors and
    Paddle's .pdparams. From a workdir the best checkpoint is loaded. Raises FileNotFoundError or
    ValueError.
    """
    return load_model_variables(create_model(name, **keywords), path)


def load_model_variables(model: nn.Module, path: str | Path) -> Variables:
    """Returns Flax variables of `model` from a file or a workdir; see `load_checkpoint`."""
    if Path(path).is_dir():
        from matting_jax.workdir.checkpoint import load_variables  # Orbax is slow to import

        return load_variables(Path(path), model)
    return to_variables(model, read_state_dict(Path(path)))


def load_backbone(model: nn.Module, path: str | Path, variables: Variables) -> Variables:
    """Returns `variables` with the backbone from a file that holds only the backbone.

    Raises as `load_checkpoint` does.
    """
    backbone = find_names(model).backbone
    if backbone is None:
        raise ValueError(
            f"{name_of(model)} has no files of its backbone only: start from a whole checkpoint "
            "by --config.init.checkpoint=FILE"
        )
    state_dict = drop_counters(backbone.tensors(read_state_dict(Path(path))))
    shapes = flat_shapes(model)
    names = {leaf: backbone.name(leaf, state_dict) for leaf in shapes if backbone.is_held(leaf)}
    # A name is None where other files of the backbone hold this leaf and this one does not.
    shapes = {leaf: shapes[leaf] for leaf, name in names.items() if name}
    what = f"the backbone of {name_of(model)}"
    flat = assign(shapes, lambda leaf: [names[leaf]], state_dict, what)
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(variables) | flat)


def to_variables(model: nn.Module, state_dict: StateDict) -> Variables:
    """Returns Flax variables of `model`; see `from_state_dict`."""
    names = find_names(model)
    if state_dict and all(name.startswith(names.prefix) for name in state_dict):
        state_dict = {name.removeprefix(names.prefix): x for name, x in state_dict.items()}
    names.check(state_dict, model)
    tensors = drop_counters(state_dict)
    tensors = {name: x for name, x in tensors.items() if name not in names.constants}
    flat = assign(flat_shapes(model), names.official, tensors, describe(model))
    return traverse_util.unflatten_dict(flat)


def to_official(model: nn.Module, variables: Variables) -> dict[str, np.ndarray]:
    """Returns {official name: NumPy array} of the variables of `model`; see `to_state_dict`."""
    names, expected = find_names(model), flat_shapes(model)
    flat = traverse_util.flatten_dict({name: variables[name] for name in variables})
    if {path: x.shape for path, x in flat.items()} != {p: x.shape for p, x in expected.items()}:
        raise ValueError(f"these are not the variables of {describe(model)}")
    state_dict = dict(names.constants)
    for path in expected:
        array = np.asarray(flat[path], np.float32)
        array = array.transpose(OFFICIAL_AXES.get(array.ndim))
        for name in names.official(path):
            state_dict[names.prefix + name] = np.ascontiguousarray(array)
            if name.endswith("running_mean"):
                counter = name.replace("running_mean", "num_batches_tracked")
                state_dict[names.prefix + counter] = np.zeros((), np.int64)
    return state_dict


def find_names(model: nn.Module) -> Names:
    """Returns the names of `model` in its official checkpoints, from the file of its network."""
    return importlib.import_module(f"{__name__}.{name_of(model)}").names_of(model)


def flat_shapes(model: nn.Module) -> dict[LeafPath, jax.ShapeDtypeStruct]:
    """Returns {path: shape and dtype} of the network's variables without computing them."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
    return traverse_util.flatten_dict(shapes)


def assign(
    shapes: Mapping[LeafPath, Any],
    names: Callable[[LeafPath], list[str]],
    state_dict: StateDict,
    what: str,
) -> dict[LeafPath, np.ndarray]:
    """Returns the array of each leaf, in Flax's layout.

    Args:
        shapes: leaves with their shapes.
        names: official names of a leaf, of which the first is read.
        state_dict: {official name: array}.
        what: description of the network for the error message.

    Raises:
        ValueError: lists every mismatch between `shapes` and `state_dict`.
    """
    flat, known, faults, differing = {}, set(), [], []
    for path, leaf in shapes.items():
        axes = OFFICIAL_AXES.get(leaf.ndim, range(leaf.ndim))
        shape = tuple(leaf.shape[axis] for axis in axes)
        copies = {}
        for name in names(path):
            known.add(name)
            if name not in state_dict:
                faults.append(f"missing {name}")
            elif state_dict[name].shape != shape:
                faults.append(f"{name} has shape {state_dict[name].shape}, expected {shape}")
            else:
                copies[name] = state_dict[name]
        if not copies:
            continue
        first, *others = copies
        differing += [name for name in others if not np.array_equal(copies[name], copies[first])]
        array = np.asarray(copies[first], np.float32)
        flat[path] = np.ascontiguousarray(array.transpose(FLAX_AXES.get(array.ndim)))
    faults += [f"unexpected {name}" for name in state_dict if name not in known]
    if faults:
        raise ValueError(f"this is not a checkpoint of {what}:\n  " + "\n  ".join(faults))
    if differing:
        warnings.warn(
            f"{len(differing)} tensors differ from their copies under another name, which are "
            f"used, as by the official loader: {differing[0]} is the first",
            stacklevel=4,
        )
    return flat


def drop_counters(state_dict: StateDict) -> StateDict:
    """Drops the batch counters of normalisations, which nothing reads."""
    return {name: x for name, x in state_dict.items() if not name.endswith("num_batches_tracked")}


def describe(model: nn.Module) -> str:
    """Returns the network's name with its variant: choices, and values that are not the default."""
    fields = [x for x in dataclasses.fields(model) if x.name not in RUN_KEYWORDS]
    values = {x.name: (getattr(model, x.name), x.default) for x in fields}
    variant = [
        f"{name}={value!r}"
        for name, (value, default) in values.items()
        if isinstance(value, str) or value != default
    ]
    return f"{name_of(model)} ({', '.join(variant)})" if variant else name_of(model)
