"""Reads and writes {name: array} files: .ckpt, .pth, .pt, .bin, .safetensors and .pdparams."""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from matting_jax.convert.contents import check_content
from matting_jax.convert.find import usual_tensors
from matting_jax.convert.pickles import NotAnArray, PlainDict, RestrictedUnpickler, UnusableTensor
from matting_jax.convert.pytorch import Tensor, as_array, open_tensors
from matting_jax.files import write_atomically

TORCH_SUFFIXES = (".ckpt", ".pth", ".pt", ".bin")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors", ".pdparams")

# The globals of a pickled dict of arrays; `numpy._core` of NumPy 2 is looked up as `numpy.core`.
ARRAY_PARTS = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "numpy.core.numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    "_codecs.encode": codecs.encode,
    "collections.OrderedDict": PlainDict,
}
# Paddle also saves its internal parameter names, under this key.
NAME_TABLE = "StructuredToParameterName@@"
DEPTH = 8  # of dicts in dicts; training code needs half of it
LONGEST_NAME = 1000  # characters; those of the networks have less than 100
# Numbers that NumPy lacks, by their names in safetensors.
EXTENDED_TYPES = {
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
PLAIN_TYPES = {
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
}


def suffix_of(path: Path) -> str:
    """Returns the extension in lower case; that of x.pth.tar, a usual name, is .pth."""
    return Path(path.name.lower().removesuffix(".tar")).suffix


def check_suffix(path: Path) -> None:
    """Raises ValueError for a file whose extension is not supported."""
    if suffix_of(path) not in SUFFIXES:
        raise ValueError(f"{path}: the extension must be one of {', '.join(SUFFIXES)}")


def import_torch() -> ModuleType:
    """Returns torch; raises ImportError that says how to install it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "writing PyTorch's files needs torch: pip install 'matting_jax[convert]', or write "
            ".safetensors"
        ) from error
    return torch


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Returns {name: array} of the part of a checkpoint file that usually holds the weights.

    Raises as `read_content` does.
    """
    return usual_tensors(read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Returns the arrays of a checkpoint file, in the dicts in which they are saved.

    No file can run code: those of PyTorch and Paddle are read by an unpickler that only admits
    arrays. What is neither an array nor a dict is omitted.

    Raises FileNotFoundError, and ValueError for a file without arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file or workdir {path}")
    check_suffix(path)
    suffix = suffix_of(path)
    check_content(path, suffix)
    if suffix == ".safetensors":
        return read_safetensors(path)
    return read_paddle(path) if suffix == ".pdparams" else read_torch(path)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .safetensors file; float32 for types that NumPy lacks."""
    import safetensors

    try:
        tensors = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error
    arrays = {}
    for name, tensor in tensors:
        kind, shape = tensor["dtype"], tensor["shape"]
        check_name(path, name)
        if kind in PLAIN_TYPES:
            arrays[name] = np.frombuffer(tensor["data"], PLAIN_TYPES[kind]).reshape(shape)
        elif kind in EXTENDED_TYPES:
            array = np.frombuffer(tensor["data"], EXTENDED_TYPES[kind]).reshape(shape)
            arrays[name] = array.astype(np.float32)
        else:
            raise ValueError(f"{path}: {name} has the unsupported type {kind}: save it as F32")
    if not arrays:
        raise ValueError(f"{path} holds no tensor")
    return arrays


def read_metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a .safetensors file, which are empty if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a PyTorch file as arrays."""
    try:
        with open_tensors(path) as content:
            arrays = keep_arrays(path, content, lambda x: isinstance(x, Tensor), as_array)
    except NotAnArray as error:
        raise ValueError(
            f"{path} needs {error!s:.200}, which is refused: weights are only tensors, and "
            "anything else could run code; save them by torch.save(model.state_dict(), FILE)"
        ) from error
    except UnusableContent:
        raise
    except Exception as error:  # a damaged pickle or archive raises almost anything
        raise ValueError(
            f"{path} is damaged or not a file of PyTorch ({type(error).__name__})"
        ) from error
    if not arrays:
        raise ValueError(f"{path} does not hold a dict of tensors")
    return arrays


def keep_arrays(
    path: Path,
    content: Any,
    is_tensor: Callable[[Any], bool],
    convert: Callable[[Any], np.ndarray],
    depth: int = 0,
) -> dict[str, Any]:
    """Returns the tensors in dicts of dicts as arrays, without the rest and without empty dicts.

    Args:
        path: the file, for error messages.
        content: what the file holds.
        is_tensor: returns whether a value is a tensor.
        convert: returns a tensor as an array, or raises if it is of a kind that has none.
        depth: number of dicts around `content`.

    Raises:
        UnusableContent: a tensor has no numeric array, or the dicts are too deep.
        Exception: `convert` fails otherwise, as it does for a damaged file.
    """
    if not isinstance(content, Mapping):
        return {}
    if depth > DEPTH:
        raise UnusableContent(f"{path} holds more than {DEPTH} dicts inside each other")
    arrays = {}
    for name, x in content.items():
        check_name(path, str(name))
        if is_tensor(x):
            try:
                array = convert(x)
                fault = "" if array.dtype.kind in "fiub" else f"has the type {array.dtype}"
            except UnusableTensor as error:
                fault = str(error)
            if fault:
                raise UnusableContent(
                    f"{path} does not hold a dict of arrays: {str(name)[:200]} {fault}"
                )
            arrays[str(name)] = array
        elif inner := keep_arrays(path, x, is_tensor, convert, depth + 1):
            arrays[str(name)] = inner
    return arrays


class UnusableContent(ValueError):
    """A file of arrays that no network can use; the message says why."""


def check_name(path: Path, name: str) -> None:
    """Raises UnusableContent for a name that no network has, and that would fill the screen."""
    if len(name) > LONGEST_NAME:
        raise UnusableContent(
            f"{path} holds a name of {len(name)} characters, which no network has: {name[:50]}..."
        )


def read_paddle(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .pdparams file, a pickle of {name: array or (name, array)}."""
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file, ARRAY_PARTS, "latin1").load()
    except NotAnArray as error:
        raise ValueError(
            f"{path} needs {error}, which is refused: weights are only arrays, and anything else "
            "could run code"
        ) from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(f"{path} is damaged or not a pickle ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a dict of arrays, but {type(content).__name__}")
    arrays = keep_arrays(path, content, is_paddle_tensor, lambda x: x if is_array(x) else x[1])
    if not arrays:
        raise ValueError(f"{path} does not hold a dict of arrays")
    return arrays


def is_array(x: Any) -> bool:
    """Returns whether a value is a NumPy array."""
    return isinstance(x, np.ndarray)


def is_paddle_tensor(x: Any) -> bool:
    """Returns whether a value is a tensor as Paddle saves it: array or (name, array)."""
    return is_array(x) or (isinstance(x, tuple) and len(x) == 2 and is_array(x[1]))


def write_state_dict(
    path: Path, state_dict: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes {name: array} atomically, for .safetensors with `metadata`."""
    check_suffix(path)
    with write_atomically(path) as file:
        write_format(suffix_of(path), file, state_dict, metadata)


def write_format(
    suffix: str,
    file: Path,
    state_dict: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes {name: array} in the format of an extension, whatever the name of the file is."""
    if suffix == ".safetensors":
        from safetensors.numpy import save

        # Not by its own function for files, whose errors have no path.
        file.write_bytes(save(dict(state_dict), dict(metadata) if metadata else None))
    elif suffix == ".pdparams":
        table = {name: name for name in state_dict}
        content = {**state_dict, NAME_TABLE: table}
        file.write_bytes(pickle.dumps(content, protocol=4))
    else:
        torch = import_torch()
        tensors = {name: torch.from_numpy(x.copy()) for name, x in state_dict.items()}
        with file.open("wb") as stream:  # without it a full disk is not recognised by its error
            torch.save(tensors, stream)
