"""Writes the weights of a run or a file in the official format (--mode convert)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ml_collections import ConfigDict

from matting_jax.convert import load_model_variables, to_official
from matting_jax.convert.files import check_suffix
from matting_jax.convert.identity import (
    Identity,
    keywords_of,
    recall,
    sha256_of,
    side_car,
    write_weights,
)
from matting_jax.convert.known import locate
from matting_jax.files import check_new_file
from matting_jax.models import create_model


def convert(config: ConfigDict, source: str | Path, output: str, overwrite: bool = False) -> None:
    """Writes the variables of a workdir or a file as an official file, with their identity.

    Args:
        config: has the network, its keywords and the options of its test-time rule.
        source: a workdir, an official file, or the name of a published file.
        output: the file to write; its extension is the format.
        overwrite: replace an existing file.

    Raises:
        ValueError: if the extension is not supported, or `source` is another network's.
        FileExistsError: if the output or its record exists.
    """
    path = Path(output)
    check_suffix(path)
    for written in (path, side_car(path)):
        check_new_file(written, overwrite)
    model = create_model(config.name, **config.model)
    variables = load_model_variables(model, source)
    state_dict = to_official(model, variables)
    identity = recall(variables) or Identity(config.name)
    place = locate(source)
    if place.is_file():
        identity = identity.with_origin(file=place.name, sha256=sha256_of(place))
    identity = replace(identity, keywords=keywords_of(model), test_time=dict(config.test_time))
    write_weights(path, state_dict, identity)
    print(f"{path}: {len(state_dict)} tensors of {config.name}")
