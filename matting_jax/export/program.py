"""Writes a network with its weights for other runtimes (--mode export)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flax import linen as nn

from matting_jax.convert.identity import (
    Identity,
    keywords_of,
    recall,
    sha256_of,
    side_car,
    write_record,
)
from matting_jax.convert.known import locate
from matting_jax.export.check import compare, run_jax, sample_inputs
from matting_jax.export.formats import Format, Options, find_format
from matting_jax.export.graph import Graph, build_graph, parse_size
from matting_jax.export.record import make_record
from matting_jax.files import check_new_file, write_atomically, write_folder_atomically
from matting_jax.models import name_of

logger = logging.getLogger("matting_jax")

TOLERANCE = 2e-3  # of 99.9 % of the values: half a step of alphas of 8 bits
# Of the mean of all values, where kernels are rounded.
MEAN_TOLERANCES = {"float16": 0.01, "int8": 0.1}
CHECKED = 512  # side of the photo that a file for any size is checked with


def export(
    model: nn.Module,
    variables: Mapping[str, Any],
    test_time: Mapping[str, Any],
    source: str | Path,
    output: str | Path,
    options: Options = Options(),  # noqa: B008 (it is frozen)
) -> None:
    """Writes a network with its weights, runs the file, and compares it with JAX.

    The record is in the file, or next to it as FILE.json. Nothing is left of a file that computes
    something else than JAX.

    Args:
        model: the network.
        variables: its variables.
        test_time: options of its test-time rule.
        source: where the variables were loaded from.
        output: the file to write; its extension is the format.
        options: what is exported, and how.

    Raises:
        ValueError: if the extension, a size or an option is not supported.
        OSError: if the output, or the record next to it, exists or cannot be written.
        ImportError: if the libraries of the format are missing.
        RuntimeError: if the file computes something else than JAX.
    """
    path, found = Path(output), find_format(str(output), options)
    check_output(path, found, options.overwrite)
    size = parse_size(options.size)
    if options.rule and None in size:
        raise ValueError("--rule needs the size of the photos: pass --size HEIGHTxWIDTH")
    build = partial(build_graph, model, variables, test_time, size=size, rule=options.rule)
    graph = build(form=found.form)
    identity = replace(
        identity_of(model, variables, source),
        keywords=keywords_of(model),
        test_time=dict(test_time),
    )
    record = {**make_record(graph, identity, rule=options.rule), **found.facts}
    write = write_folder_atomically if found.is_folder else write_atomically
    with write(path) as temporary:
        logger.info(f"writing {path}")
        found.write(graph, temporary, record)
        logger.info("comparing it with JAX")
        check(found, temporary, build(form="auto"), options.weights)
        files = [x for x in (temporary, *temporary.rglob("*")) if x.is_file()]
        megabytes = sum(x.stat().st_size for x in files) / 1e6
        if not found.is_folder:
            record["sha256"] = sha256_of(temporary)
        if not found.holds_record:
            write_record(path, record)
    print(f"{path}: {megabytes:.1f} MB; licence of the weights: {record['licence']}")


def check_output(path: Path, found: Format, overwrite: bool) -> None:
    """Raises OSError if the output or its record exists and may not be replaced.

    A folder is replaced only if it is an earlier export.
    """
    if found.is_folder and path.is_dir():
        names = {x.name for x in path.iterdir()}
        if others := names - found.contents:
            raise FileExistsError(
                f"{path} holds {min(others)}, which no export wrote: give another folder as "
                "--output"
            )
        if names and not overwrite:
            raise FileExistsError(f"{path} exists already: pass --overwrite to replace it")
    else:
        check_new_file(path, overwrite)
    if not found.holds_record:
        check_new_file(side_car(path), overwrite)


def identity_of(model: nn.Module, variables: Mapping[str, Any], source: str | Path) -> Identity:
    """Returns the identity of variables that were loaded from a workdir, a file or by a name."""
    identity, place = recall(variables) or Identity(name_of(model)), locate(source)
    return identity.with_origin(file=place.name) if place.is_file() else identity


def check(found: Format, path: Path, graph: Graph, weights: str) -> None:
    """Raises RuntimeError if the file at `path` computes something else than `graph`.

    `weights` is how its kernels are stored.
    """
    shapes = {
        name: tuple(CHECKED if side is None else side for side in shape)
        for name, shape in graph.inputs.items()
    }
    inputs = sample_inputs(shapes)
    differences = compare(found.open(path)(inputs), run_jax(graph, inputs))
    for name, difference in differences.items():
        print(f"{name}: difference from JAX {difference}")
        error, limit = difference.quantile, TOLERANCE
        if weights in MEAN_TOLERANCES:
            error, limit = difference.mean, MEAN_TOLERANCES[weights]
        if not error <= limit:
            raise RuntimeError(
                f"the file computes another {name} than JAX: it differs by {error:.1e}, but "
                f"{limit} is the limit; nothing was written"
            )
