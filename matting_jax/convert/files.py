"""Reading and writing {name: array} files: .ckpt, .pth, .pt and .safetensors."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from matting_jax.files import written_whole

TORCH_SUFFIXES = (".ckpt", ".pth", ".pt")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors")


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

    A file of PyTorch is read with `weights_only=True`, so it can run no code; a state dict inside
    a dict under `state_dict` is found. Raises FileNotFoundError, ImportError without torch, or
    ValueError for a file that holds no such dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file or workdir {path}")
    check_suffix(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except (SafetensorError, KeyError) as error:  # KeyError: a type that NumPy lacks
            raise ValueError(
                f"{path} is no safetensors file of types that NumPy has: {error}"
            ) from error
    torch = import_torch()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, end-of-file and runtime errors alike
        raise ValueError(
            f"{path} is damaged, or holds more than weights, which is refused because reading it "
            f"could run code ({type(error).__name__})"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(torch.is_tensor(x) for x in content.values()):
        raise ValueError(f"{path} holds no dict of tensors")
    return {name: as_array(tensor) for name, tensor in content.items()}


def write_state_dict(path: Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Write {name: array}; the file appears whole or not at all."""
    check_suffix(path)
    with written_whole(path) as file:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(dict(state_dict), file)
        else:
            torch = import_torch()
            torch.save({name: torch.from_numpy(x.copy()) for name, x in state_dict.items()}, file)


def as_array(tensor) -> np.ndarray:
    """A tensor of PyTorch in NumPy's types, which have no bfloat16."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
