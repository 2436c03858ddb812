"""Reads and writes {name: array} files: .ckpt, .pth, .pt, .bin, .safetensors and .pdparams."""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.convert.find import usual_tensors
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
    "collections.OrderedDict": OrderedDict,
}
SCALAR = np.float64(0).__reduce__()[0]
# Paddle also saves its internal parameter names, under this key.
NAME_TABLE = "StructuredToParameterName@@"
# Starts of files that are not what their name says, and what they are.
LFS_POINTER = b"version https://git-lfs"
WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
DEPTH = 8  # of dicts in dicts; training code needs half of it


def check_suffix(path: Path) -> None:
    """Raises ValueError for a file whose extension is not supported."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: the extension must be one of {', '.join(SUFFIXES)}")


def import_torch():
    """Returns torch; raises ImportError that says how to install it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch files need torch: pip install 'matting_jax[convert]'") from error
    return torch


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Returns {name: array} of the part of a checkpoint file that usually holds the weights.

    Raises as `read_content` does.
    """
    return usual_tensors(read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Returns the arrays of a checkpoint file, in the dicts in which they are saved.

    No file can run code: PyTorch's are read with `weights_only=True`, Paddle's by an unpickler that
    only admits arrays. What is neither an array nor a dict is omitted.

    Raises FileNotFoundError, ImportError if torch is needed and not installed, and ValueError for a
    file without arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file or workdir {path}")
    check_suffix(path)
    check_start(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return read_safetensors(path)
    return read_paddle(path) if suffix == ".pdparams" else read_torch(path)


def check_start(path: Path) -> None:
    """Raises ValueError for a Git LFS pointer or a web page that was saved in place of a file."""
    with path.open("rb") as file:
        start = file.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith(LFS_POINTER):
        raise ValueError(
            f"{path} is a Git LFS pointer, which stands for the weights: get them by `git lfs pull`"
        )
    if start.startswith(WEB_PAGES):
        raise ValueError(
            f"{path} is a web page, not a checkpoint: the server asked for a login or a "
            "confirmation, so download the file with a browser"
        )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:  # KeyError: a type unknown to NumPy
        raise ValueError(
            f"{path} is not a safetensors file with types of NumPy: {error}"
        ) from error


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a PyTorch file as arrays."""
    torch = import_torch()
    # Some files also hold a score as a NumPy scalar, which cannot run code.
    scalar = [SCALAR, np.dtype, np.dtypes.Float64DType]
    try:
        with torch.serialization.safe_globals(scalar):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, end-of-file or runtime errors
        raise ValueError(
            f"{path} is damaged, or holds more than weights and is not read because that could "
            f"run code ({type(error).__name__})"
        ) from error
    arrays = keep_arrays(path, content, torch.is_tensor, as_array)
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
        ValueError: a tensor has no numeric array, or the dicts are too deep.
    """
    if not isinstance(content, Mapping):
        return {}
    if depth > DEPTH:
        raise ValueError(f"{path} holds more than {DEPTH} dicts inside each other")
    arrays = {}
    for name, x in content.items():
        if is_tensor(x):
            try:
                array = convert(x)
                numeric = array.dtype.kind in "fiub"
            except Exception:  # torch raises many types for sparse, meta and quantised tensors
                numeric = False
            if not numeric:
                raise ValueError(
                    f"{path} does not hold a dict of arrays: {str(name)[:200]} is not a numeric "
                    "array"
                )
            arrays[str(name)] = array
        elif inner := keep_arrays(path, x, is_tensor, convert, depth + 1):
            arrays[str(name)] = inner
    return arrays


class NotAnArray(Exception):
    """A pickle needs a global that a dict of arrays does not; the message is its name."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle of arrays in dicts; raises NotAnArray for anything else."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if wanted not in ARRAY_PARTS:
            raise NotAnArray(wanted)
        return ARRAY_PARTS[wanted]


def read_paddle(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .pdparams file, a pickle of {name: array or (name, array)}."""
    try:
        with path.open("rb") as file:
            content = ArrayUnpickler(file, encoding="latin1").load()
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


def write_state_dict(path: Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes {name: array} atomically."""
    check_suffix(path)
    with write_atomically(path) as file:
        if path.suffix.lower() == ".safetensors":
            from safetensors.numpy import save_file

            save_file(dict(state_dict), file)
        elif path.suffix.lower() == ".pdparams":
            table = {name: name for name in state_dict}
            content = {**state_dict, NAME_TABLE: table}
            file.write_bytes(pickle.dumps(content, protocol=4))
        else:
            torch = import_torch()
            torch.save({name: torch.from_numpy(x.copy()) for name, x in state_dict.items()}, file)


def as_array(tensor) -> np.ndarray:
    """Returns a PyTorch tensor as an array; floats become float32, since NumPy has no bfloat16."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
