"""Official checkpoints to Flax variables and back, exactly and completely.

A network's file here has its name and ends with `names_of(model)`, which returns its `Names`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn
from flax import traverse_util

from matting_jax.choices import LINES, check_finite, shorten
from matting_jax.convert.files import read_content
from matting_jax.convert.find import Content, drop_counters, find_tensors, without_prefixes
from matting_jax.convert.guesses import guess
from matting_jax.convert.identify import recorded_identity
from matting_jax.convert.identity import identity_of_run, remember
from matting_jax.convert.known import locate
from matting_jax.convert.names import LeafPath, StateDict
from matting_jax.convert.shapes import flat_shapes
from matting_jax.convert.tables import (
    OFFICIAL_AXES,
    describe,
    find_names,
    official_shape,
    official_shapes,
)
from matting_jax.models import create_model, name_of

logger = logging.getLogger("matting_jax")

Variables = dict[str, Any]

FLAX_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}  # the inverse of OFFICIAL_AXES


def from_state_dict(name: str, state_dict: StateDict, **keywords: Any) -> Variables:
    """Returns Flax variables of network `name` from {official name: NumPy array}.

    A prefix of all names is stripped if the others then fit. Every official name is read exactly
    once; counters and constants may be missing. Where copies of one tensor differ, this warns and
    keeps the one that the official loader keeps. Raises ValueError that lists missing and
    unexpected names and wrong shapes, at most 20 lines, and says which network they fit instead;
    and for values that are not finite.
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

    Files: PyTorch's .ckpt, .pth, .pt and .bin, .safetensors, and Paddle's .pdparams; no library of
    these is needed, and no file can run code. If a file holds more, such as the state of an
    optimizer, only the weights are read, their moving average if there is one. From a workdir the
    best checkpoint is loaded. `path` may also be the name of a published file (docs/weights.md),
    hf://OWNER/REPOSITORY/FILE or a web address, which are fetched once. Raises FileNotFoundError or
    ValueError.
    """
    return load_model_variables(create_model(name, **keywords), path)


def load_model_variables(model: nn.Module, path: str | Path) -> Variables:
    """Returns Flax variables of `model` from a file or a workdir; see `load_checkpoint`.

    Their identity, if it is recorded, can be recalled from them.
    """
    place = locate(path)
    if place.is_dir():
        from matting_jax.workdir.checkpoint import load_step  # Orbax is slow to import

        step, variables, metadata = load_step(place, model)
        check_run(model, variables, f"step {step} of {place}", metadata)
        identity = identity_of_run(place).with_origin(step=step)
    else:
        variables = to_variables(model, read_content(place))
        identity = recorded_identity(path, place)
        if identity and "step" in identity.origin:
            logger.info(f"{path}: step {identity.origin['step']} of {identity.origin['run']}")
    if identity and identity.network == name_of(model):
        remember(variables, identity)
    return variables


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
    shapes = {leaf: x for leaf, x in flat_shapes(model).items() if backbone.is_held(leaf)}
    faults = []
    for state_dict in without_prefixes(read_content(locate(path))):
        try:
            flat = assign_backbone(model, shapes, state_dict)
        except ValueError as error:
            faults.append(error)
            continue
        return traverse_util.unflatten_dict(traverse_util.flatten_dict(variables) | flat)
    raise faults[0]


def assign_backbone(
    model: nn.Module, shapes: Mapping[LeafPath, Any], state_dict: StateDict
) -> dict[LeafPath, np.ndarray]:
    """Returns the array of each leaf of the backbone of `model`; raises ValueError as `assign`."""
    backbone = find_names(model).backbone
    tensors = drop_counters(backbone.tensors(state_dict))
    names = {leaf: backbone.name(leaf, tensors) for leaf in shapes}
    # A name is None where other files of the backbone hold this leaf and this one does not.
    held = {leaf: shapes[leaf] for leaf, name in names.items() if name}
    return assign(
        held, lambda leaf: [names[leaf]], tensors, f"the backbone of {name_of(model)}", lambda: ""
    )


def to_variables(model: nn.Module, content: Content) -> Variables:
    """Returns Flax variables of `model` from what a file holds; see `from_state_dict`."""
    names = find_names(model)
    tensors = find_tensors(content, official_shapes(model))
    if tensors and all(name.startswith(names.prefix) for name in tensors):
        tensors = {name.removeprefix(names.prefix): x for name, x in tensors.items()}
    names.check(tensors, model)
    tensors = {name: x for name, x in tensors.items() if name not in names.constants}
    flat = assign(
        flat_shapes(model),
        names.official,
        tensors,
        describe(model),
        lambda: guess(model, content),
    )
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


def check_run(
    model: nn.Module, variables: Variables, what: str, metadata: Mapping[str, Any]
) -> None:
    """Raises ValueError if the variables of a run are not those of the network of its config.

    Args:
        model: the network of the config.
        variables: what a checkpoint of the run holds.
        what: name of the checkpoint, for the error message.
        metadata: custom metadata of the checkpoint.
    """
    from matting_jax.workdir.checksums import LAYOUT, NETWORK, layout

    trained, named = metadata.get(NETWORK), describe(model)
    if trained == named and metadata.get(LAYOUT) == layout(variables):
        return
    try:
        check_variables(model, variables, what)
    except ValueError as error:
        if trained in (None, named):
            raise
        raise ValueError(
            f"{what} holds {trained}, but config.json there says {named}: undo the change of "
            "config.json"
        ) from error


def check_variables(model: nn.Module, variables: Variables, what: str) -> None:
    """Raises ValueError that lists how the variables of a run differ from those of `model`.

    Args:
        model: the network.
        variables: what a checkpoint of the run holds.
        what: name of the checkpoint, for the error message.
    """
    from matting_jax.workdir.checksums import named_arrays

    kinds, wanted = (
        {name: f"{x.dtype} {tuple(x.shape)}" for name, x in named_arrays(tree).items()}
        for tree in (variables, traverse_util.unflatten_dict(flat_shapes(model)))
    )
    faults = {
        "other kinds": [
            f"{name} is {kinds[name]}, expected {wanted[name]}"
            for name in wanted
            if name in kinds and kinds[name] != wanted[name]
        ],
        "missing": [f"missing {name}" for name in wanted if name not in kinds],
        "unexpected": [f"unexpected {name}" for name in kinds if name not in wanted],
    }
    report_faults(faults, f"{what} is not a checkpoint of {describe(model)}", lambda: "")


def report_faults(faults: Mapping[str, list[str]], start: str, hint: Callable[[], str]) -> None:
    """Raises ValueError if there are faults.

    Args:
        faults: lines by the kind of fault.
        start: the first line of the error message.
        hint: returns the last line, or "".
    """
    if not any(faults.values()):
        return
    lines = [f"  {fault}" for kind in faults.values() for fault in kind]
    counts = ""
    if len(lines) > LINES - 2:  # not all of them are shown
        counts = ", ".join(f"{len(x)} {kind}" for kind, x in faults.items() if x)
        counts = f" ({counts})"
    raise ValueError(shorten([f"{start}{counts}:", *lines], hint()))


def assign(
    shapes: Mapping[LeafPath, Any],
    names: Callable[[LeafPath], list[str]],
    state_dict: StateDict,
    what: str,
    hint: Callable[[], str],
) -> dict[LeafPath, np.ndarray]:
    """Returns the array of each leaf, in Flax's layout.

    Args:
        shapes: leaves with their shapes.
        names: official names of a leaf, of which the first is read.
        state_dict: {official name: array}.
        what: description of the network for the error message.
        hint: returns the last line of the error message, or "".

    Raises:
        ValueError: lists the mismatches between `shapes` and `state_dict`, or the tensors with
            values that are not finite.
    """
    flat, known, differing, read = {}, set(), [], {}
    faults = {"other shapes": [], "missing": [], "unexpected": []}
    for path, leaf in shapes.items():
        shape = official_shape(leaf)
        copies = {}
        for name in names(path):
            known.add(name)
            if name not in state_dict:
                faults["missing"].append(f"missing {name}")
            elif state_dict[name].shape != shape:
                found = tuple(state_dict[name].shape)
                faults["other shapes"].append(f"{name} has shape {found}, expected {shape}")
            else:
                copies[name] = state_dict[name]
        if not copies:
            continue
        first, *others = copies
        differing += [name for name in others if not np.array_equal(copies[name], copies[first])]
        read[first] = array = np.asarray(copies[first], np.float32)
        flat[path] = np.ascontiguousarray(array.transpose(FLAX_AXES.get(array.ndim)))
    faults["unexpected"] = [f"unexpected {name}" for name in state_dict if name not in known]
    report_faults(faults, f"this is not a checkpoint of {what}", hint)
    check_finite(read, what)
    if differing:
        warnings.warn(
            f"{len(differing)} tensors differ from their copies under another name, which are "
            f"used, as by the official loader: {differing[0]} is the first",
            stacklevel=4,
        )
    return flat
