"""Writes the weights of a run or a file in the official format (--mode convert)."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from matting_jax.convert import load_model_variables, to_official
from matting_jax.convert.files import check_suffix, write_state_dict
from matting_jax.models import create_model


def convert(config: ConfigDict, source: str | Path, output: str, overwrite: bool = False) -> None:
    """Writes the variables of a workdir or a file as an official file.

    Args:
        config: names the network and its keywords.
        source: a workdir or an official file.
        output: the file to write; its extension is the format.
        overwrite: replace an existing file.

    Raises:
        ValueError: if the extension is not supported, or `source` is another network's.
        FileExistsError: if the output exists.
    """
    path = Path(output)
    check_suffix(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: pass --overwrite to replace it")
    model = create_model(config.name, **config.model)
    state_dict = to_official(model, load_model_variables(model, source))
    write_state_dict(path, state_dict)
    print(f"{path}: {len(state_dict)} tensors of {config.name}")
