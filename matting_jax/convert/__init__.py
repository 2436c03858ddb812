"""Official checkpoints to Flax variables and back, exactly and completely.

A network has a file of names, and one more for each other flavour (NAME_FLAVOUR.py):
    PREFIX, which all names of a file may have; CONSTANTS {name: array}, which no leaf holds;
    official_names(path): the names of one Flax leaf, the one that counts first;
    check_names(state_dict, model), only where a wrong file deserves a sentence of its own: a
        ValueError;
    names_of(model), only where the names depend on the network's keywords: all of these functions
        and constants for that network, in place of the module's own;
and for a file of its backbone alone
    is_backbone(path): whether such a file holds this leaf;
    backbone_name(path, state_dict): its name there;
    backbone_tensors(state_dict): what is taken of the file, brought into the network's shapes.
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

from matting_jax.choices import one_of
from matting_jax.config import read_config
from matting_jax.convert.files import check_suffix, read_state_dict, write_state_dict
from matting_jax.models import NETWORKS, create_model, example_inputs

Variables = dict[str, Any]
LeafPath = tuple[str, ...]

# Axes of a kernel in the official order: HWIO is OIHW there, [in, out] is [out, in].
OFFICIAL_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
FLAX_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}


def from_state_dict(name: str, state_dict: Mapping[str, np.ndarray], **keywords: Any) -> Variables:
    """Flax variables of network `name` from {official name: NumPy array}.

    Every official name is read exactly once; counters and constants may be missing.
    Raises ValueError that lists all missing and unexpected names and all wrong shapes. Copies of
    one tensor that differ warn: the one that the official loader keeps is taken.
    """
    shapes, names = flat_shapes(name, keywords), official_names(name, keywords)
    if state_dict and all(key.startswith(names.PREFIX) for key in state_dict):
        state_dict = {key.removeprefix(names.PREFIX): x for key, x in state_dict.items()}
    if hasattr(names, "check_names"):  # what deserves a better sentence than a list of faults
        names.check_names(state_dict, create_model(name, **keywords))
    state_dict = {
        key: x
        for key, x in state_dict.items()
        if not is_counter(key) and key not in names.CONSTANTS
    }
    chosen = ", ".join(f"{key} {value}" for key, value in keywords.items())
    what = f"{name} ({chosen})" if chosen else name
    flat = assign(shapes, names.official_names, state_dict, what)
    return traverse_util.unflatten_dict(flat)


def to_state_dict(name: str, variables: Variables, **keywords: Any) -> dict[str, np.ndarray]:
    """{official name: NumPy array} of `variables`, with the official names, shapes and layout.

    Copies are written under each of their names, counters that no network uses as zeros, constants
    with their values. Raises ValueError where `variables` are not those of network `name`.
    """
    expected, names = flat_shapes(name, keywords), official_names(name, keywords)
    flat = traverse_util.flatten_dict({key: variables[key] for key in variables})
    if {path: x.shape for path, x in flat.items()} != {p: x.shape for p, x in expected.items()}:
        raise ValueError(f"these are not the variables of {name} with {keywords or 'its defaults'}")
    state_dict = dict(names.CONSTANTS)
    for path in expected:
        for key in names.official_names(path):
            array = np.asarray(flat[path], np.float32)
            axes = OFFICIAL_AXES.get(array.ndim)
            state_dict[names.PREFIX + key] = np.ascontiguousarray(array.transpose(axes))
            if key.endswith("running_mean"):
                counter = key.replace("running_mean", "num_batches_tracked")
                state_dict[names.PREFIX + counter] = np.zeros((), np.int64)
    return state_dict


def load_checkpoint(name: str, path: str | Path, **keywords: Any) -> Variables:
    """Flax variables of network `name` from an official file or from a workdir of this library.

    Files: .ckpt, .pth and .pt (need torch, read with `weights_only=True`), .safetensors and
    Paddle's .pdparams. Of a workdir the best checkpoint is taken. Raises FileNotFoundError or
    ValueError.
    """
    one_of(name, NETWORKS, "network")
    if Path(path).is_dir():
        from matting_jax.workdir.checkpoint import load_variables  # Orbax is slow to import

        saved = read_config(Path(path))
        if saved.name != name:
            raise ValueError(f"{path} holds {saved.name}, not {name}")
        # As modules, which fill in the keywords that an older run did not save yet.
        there, asked = create_model(name, **saved.model), create_model(name, **keywords)
        if there != asked:
            raise ValueError(
                f"{path} holds {name} with {difference(there, asked)}, "
                f"not with {difference(asked, there)}"
            )
        return load_variables(Path(path))
    return from_state_dict(name, read_state_dict(Path(path)), **keywords)


def load_backbone(name: str, path: str | Path, variables: Variables, **keywords: Any) -> Variables:
    """`variables` of network `name` with its backbone from a file of the backbone alone.

    Raises as `load_checkpoint` does.
    """
    shapes, names = flat_shapes(name, keywords), official_names(name, keywords)
    state_dict = names.backbone_tensors(read_state_dict(Path(path)))
    state_dict = {key: x for key, x in state_dict.items() if not is_counter(key)}
    leaves = filter(names.is_backbone, shapes)
    named = {leaf: names.backbone_name(leaf, state_dict) for leaf in leaves}
    # A name of None: other files of the backbone hold this leaf, this one does not.
    shapes = {leaf: shapes[leaf] for leaf, key in named.items() if key}
    flat = assign(shapes, lambda leaf: [named[leaf]], state_dict, f"the backbone of {name}")
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(variables) | flat)


def convert(config: Any, source: str | Path, output: str | None, overwrite: bool = False) -> None:
    """Write the variables of a workdir or a file as an official file; its ending is the format.

    Raises ValueError, or FileExistsError rather than overwrite.
    """
    if not output:
        raise ValueError("--mode convert needs --output FILE, say modnet.safetensors")
    path = Path(output)
    check_suffix(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: pass --overwrite to replace it")
    variables = load_checkpoint(config.name, source, **config.model)
    state_dict = to_state_dict(config.name, variables, **config.model)
    write_state_dict(path, state_dict)
    print(f"{path}: {len(state_dict)} tensors of {config.name}")


def assign(
    shapes: Mapping[LeafPath, Any],
    names: Callable[[LeafPath], list[str]],
    state_dict: Mapping[str, np.ndarray],
    what: str,
) -> dict[LeafPath, np.ndarray]:
    """Each leaf of `shapes` from `state_dict`; raises ValueError with all that is wrong."""
    flat, known, faults, differing = {}, set(), [], []
    for path, leaf in shapes.items():
        axes = OFFICIAL_AXES.get(leaf.ndim, range(leaf.ndim))
        shape = tuple(leaf.shape[axis] for axis in axes)
        copies = {}
        for key in names(path):
            known.add(key)
            if key not in state_dict:
                faults.append(f"missing {key}")
            elif state_dict[key].shape != shape:
                faults.append(f"{key} has shape {state_dict[key].shape}, expected {shape}")
            else:
                copies[key] = state_dict[key]
        if not copies:
            continue
        first, *others = copies
        differing += [key for key in others if not np.array_equal(copies[key], copies[first])]
        array = np.asarray(copies[first], np.float32)
        flat[path] = np.ascontiguousarray(array.transpose(FLAX_AXES.get(array.ndim)))
    faults += [f"unexpected {key}" for key in state_dict if key not in known]
    if faults:
        raise ValueError(f"this is no checkpoint of {what}:\n  " + "\n  ".join(faults))
    if differing:
        warnings.warn(
            f"{len(differing)} tensors differ from their copies under another name, which are "
            f"taken, as the official loader does: {differing[0]} is the first",
            stacklevel=3,
        )
    return flat


def official_names(name: str, keywords: Mapping[str, Any]) -> Any:
    """The module with the names that network `name` has in the official files of its flavour.

    Where they depend on more keywords, the module's `names_of(model)` has them in its place.
    """
    model = create_model(name, **keywords)
    flavour = getattr(model, "flavour", "official")
    file = name if flavour == "official" else f"{name}_{flavour}"
    module = importlib.import_module(f"{__name__}.{file}")
    return module.names_of(model) if hasattr(module, "names_of") else module


def is_counter(key: str) -> bool:
    """Whether `key` counts the batches of a normalisation, which nothing reads."""
    return key.endswith("num_batches_tracked")


def difference(model: nn.Module, other: nn.Module) -> str:
    """The keywords of `model` whose values are not those of `other`, as one would type them."""
    values = {x.name: getattr(model, x.name) for x in dataclasses.fields(model)}
    return ", ".join(f"{k}={x!r}" for k, x in values.items() if x != getattr(other, k))


def flat_shapes(name: str, keywords: Mapping[str, Any]) -> dict[LeafPath, jax.ShapeDtypeStruct]:
    """{path: shape and dtype} of the network's variables, none of them computed."""
    model = create_model(name, **keywords)
    shapes = jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
    return traverse_util.flatten_dict(shapes)
