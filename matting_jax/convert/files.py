"""Reads and writes {name: array} files: .ckpt, .pth, .pt, .safetensors and .pdparams."""

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


def check_suffix(path: Path) -> None:
    """Raises ValueError for a file whose extension is not supported."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the extension must be one of {', '.join(SUFFIXES)}")


def import_torch():
    """Returns torch; raises ImportError that says how to install it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch files need torch: pip install 'matting_jax[convert]'") from error
    return torch


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Returns {name: array} of a checkpoint file.

    No file can run code: PyTorch's are read with `weights_only=True`, Paddle's by an unpickler that
    only admits arrays. The state dict may be inside a dict, under `state_dict` or DeepLabV3's
    `model_state`, or split into one state dict per module.

    Raises FileNotFoundError, ImportError if torch is needed and not installed, and ValueError for a
    file without such a dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file or workdir {path}")
    check_suffix(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return read_paddle(path) if path.suffix == ".pdparams" else read_torch(path)


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
    if isinstance(content, dict):
        content = content.get("state_dict", content.get("model_state", content))
    if isinstance(content, dict):
        content = flatten_modules(content)
    if not isinstance(content, dict) or not all(torch.is_tensor(x) for x in content.values()):
        raise ValueError(f"{path} does not hold a dict of tensors")
    return {name: as_array(tensor) for name, tensor in content.items()}


def flatten_modules(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merges the state dicts of several modules: {"a": {"b": x}} becomes {"a.b": x}."""
    flat = {}
    for name, x in content.items():
        flat |= {f"{name}.{key}": y for key, y in x.items()} if isinstance(x, dict) else {name: x}
    return flat


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
    arrays = {
        name: x[1] if isinstance(x, tuple) and len(x) == 2 else x
        for name, x in content.items()
        if name != NAME_TABLE
    }
    for name, x in arrays.items():
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub":
            raise ValueError(
                f"{path} does not hold a dict of arrays: {name} is not a numeric array"
            )
    return arrays


def write_state_dict(path: Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes {name: array} atomically."""
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
    """Returns a PyTorch tensor as an array; floats become float32, since NumPy has no bfloat16."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
