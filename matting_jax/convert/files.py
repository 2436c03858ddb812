"""Reading and writing {name: array} files: .ckpt, .pth, .pt, .safetensors and .pdparams."""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.files import write_atomically

TORCH_SUFFIXES = (".ckpt", ".pth", ".pt")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors", ".pdparams")

# What a pickled dict of arrays asks for, under the names that NumPy 1 and 2, or Python 2, give it.
ARRAY_PARTS = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "numpy.core.numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    "_codecs.encode": codecs.encode,
    "collections.OrderedDict": OrderedDict,
}
SCALAR = np.float64(0).__reduce__()[0]
# Paddle keeps the names of its parameters beside those of the modules.
NAME_TABLE = "StructuredToParameterName@@"


def check_suffix(path: Path) -> None:
    """ValueError for a file whose ending is none of those that are read and written."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the ending must be one of {', '.join(SUFFIXES)}")


def import_torch():
    """torch, or an ImportError that says how to get it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "files of PyTorch need torch: pip install 'matting_jax[convert]'"
        ) from error
    return torch


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint file.

    No file can run code: those of PyTorch are read with `weights_only=True`, those of Paddle by an
    unpickler that admits arrays alone. A state dict inside a dict under `state_dict`, or under
    `model_state` as DeepLabV3's, is found, and so are those of several modules under their names.
    Raises FileNotFoundError, ImportError without torch where it is needed, or ValueError for a file
    that holds no such dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file or workdir {path}")
    check_suffix(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return read_paddle(path) if path.suffix == ".pdparams" else read_torch(path)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that NumPy lacks
        raise ValueError(
            f"{path} is no safetensors file of types that NumPy has: {error}"
        ) from error


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file of PyTorch, as arrays."""
    torch = import_torch()
    # A score kept beside the weights is a NumPy scalar, which can run nothing.
    scalar = [SCALAR, np.dtype, np.dtypes.Float64DType]
    try:
        with torch.serialization.safe_globals(scalar):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, end-of-file and runtime errors alike
        raise ValueError(
            f"{path} is damaged, or holds more than weights, which is refused because reading it "
            f"could run code ({type(error).__name__})"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content.get("model_state", content))
    if isinstance(content, dict):
        content = joined(content)
    if not isinstance(content, dict) or not all(torch.is_tensor(x) for x in content.values()):
        raise ValueError(f"{path} holds no dict of tensors")
    return {name: as_array(tensor) for name, tensor in content.items()}


def joined(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """`content` with the state dict of each module in it taken apart, its names after the module's:
    {"a": {"b": x}} is {"a.b": x}."""
    flat = {}
    for name, x in content.items():
        flat |= {f"{name}.{key}": y for key, y in x.items()} if isinstance(x, dict) else {name: x}
    return flat


class NotAnArray(Exception):
    """A pickle asks for something, which is named, that no dict of arrays needs."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle of arrays in dicts; raises NotAnArray for one that asks for more."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if wanted not in ARRAY_PARTS:
            raise NotAnArray(wanted)
        return ARRAY_PARTS[wanted]


def read_paddle(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .pdparams file: a pickle of {name: array}, or of {name: (name, array)}."""
    try:
        with path.open("rb") as file:
            content = ArrayUnpickler(file, encoding="latin1").load()
    except NotAnArray as error:
        raise ValueError(
            f"{path} asks for {error}, which is refused: a file of weights needs arrays alone, and "
            "anything more could run code"
        ) from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(f"{path} is damaged or no pickle ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no dict of arrays but {type(content).__name__}")
    arrays = {
        name: x[1] if isinstance(x, tuple) and len(x) == 2 else x
        for name, x in content.items()
        if name != NAME_TABLE
    }
    for name, x in arrays.items():
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub":
            raise ValueError(f"{path} holds no dict of arrays: {name} is none of numbers")
    return arrays


def write_state_dict(path: Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Write {name: array}; the file appears whole or not at all."""
    check_suffix(path)
    with write_atomically(path) as file:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(dict(state_dict), file)
        elif path.suffix == ".pdparams":
            table = {name: name for name in state_dict}
            content = {**state_dict, NAME_TABLE: table}
            file.write_bytes(pickle.dumps(content, protocol=4))
        else:
            torch = import_torch()
            torch.save({name: torch.from_numpy(x.copy()) for name, x in state_dict.items()}, file)


def as_array(tensor) -> np.ndarray:
    """A tensor of PyTorch in NumPy's types, which have no bfloat16."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
