"""Reads and writes {name: array} files: .ckpt, .pth, .pt, .bin, .safetensors and .pdparams."""

from __future__ import annotations

import argparse
import codecs
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import ml_dtypes
import numpy as np

from matting_jax.convert.contents import check_content
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
# What files of PyTorch also hold beside tensors, and what cannot run code: scores as NumPy scalars,
# options and paths.
HARMLESS = (
    np.float64(0).__reduce__()[0],
    np.dtype,
    *(getattr(np.dtypes, f"{kind}DType") for kind in ("Float64", "Float32", "Int64")),
    argparse.Namespace,
    PosixPath,
    PurePosixPath,
)
# Paddle also saves its internal parameter names, under this key.
NAME_TABLE = "StructuredToParameterName@@"
DEPTH = 8  # of dicts in dicts; training code needs half of it
LONGEST_NAME = 1000  # characters; those of the networks have less than 100
MOST_VALUES = 2**30  # of a tensor; a view of few values may claim any number
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
            raise ValueError(
                f"{path}: the numbers of {name} have the type {kind}: save them as F32"
            )
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
    torch = import_torch()
    try:
        with torch.serialization.safe_globals(list(HARMLESS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, end-of-file or runtime errors
        if refused := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise ValueError(
                f"{path} needs {refused[1][:200]}, which is refused: weights are only tensors, and "
                "anything else could run code; save them by torch.save(model.state_dict(), FILE)"
            ) from error
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
        check_name(path, str(name))
        if is_tensor(x):
            try:
                array = convert(x)
                fault = "" if array.dtype.kind in "fiub" else f"has the type {array.dtype}"
            except UnusableTensor as error:
                fault = str(error)
            except Exception:  # torch raises many types for kinds of tensors without an array
                fault = "is not a numeric array"
            if fault:
                raise ValueError(
                    f"{path} does not hold a dict of arrays: {str(name)[:200]} {fault}"
                )
            arrays[str(name)] = array
        elif inner := keep_arrays(path, x, is_tensor, convert, depth + 1):
            arrays[str(name)] = inner
    return arrays


def check_name(path: Path, name: str) -> None:
    """Raises ValueError for a name that no network has, and that would fill the screen."""
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"{path} holds a name of {len(name)} characters, which no network has: {name[:50]}..."
        )


class UnusableTensor(Exception):
    """A tensor that has no array; the message says why, and how to save it."""


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


def write_state_dict(
    path: Path, state_dict: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes {name: array} atomically, for .safetensors with `metadata`."""
    check_suffix(path)
    with write_atomically(path) as file:
        if suffix_of(path) == ".safetensors":
            from safetensors.numpy import save_file

            save_file(dict(state_dict), file, dict(metadata) if metadata else None)
        elif suffix_of(path) == ".pdparams":
            table = {name: name for name in state_dict}
            content = {**state_dict, NAME_TABLE: table}
            file.write_bytes(pickle.dumps(content, protocol=4))
        else:
            torch = import_torch()
            torch.save({name: torch.from_numpy(x.copy()) for name, x in state_dict.items()}, file)


def as_array(tensor) -> np.ndarray:
    """Returns a PyTorch tensor as an array; floats become float32, since NumPy has no bfloat16.

    Raises UnusableTensor for tensors that have no array.
    """
    if tensor.is_nested:
        raise UnusableTensor("is a nested tensor, of several shapes")
    if str(tensor.layout) != "torch.strided":
        raise UnusableTensor(f"is a sparse tensor ({tensor.layout}): save it by .to_dense()")
    if tensor.is_meta:
        raise UnusableTensor("is on the device meta, without values: save the loaded weights")
    if tensor.is_quantized:
        raise UnusableTensor("is quantised: save it by .dequantize()")
    if tensor.is_complex():
        raise UnusableTensor("holds complex numbers, which no network here has")
    if tensor.numel() > MOST_VALUES:
        raise UnusableTensor(f"claims {tensor.numel()} values")
    tensor = tensor.detach().resolve_neg()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
