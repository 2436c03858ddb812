"""Writes a network with its weights for other runtimes (--mode export)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from matting_jax.choices import one_of
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
from matting_jax.export.graph import Graph, build_graph, parse_size
from matting_jax.export.record import make_record
from matting_jax.files import write_atomically
from matting_jax.models import name_of

Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

logger = logging.getLogger("matting_jax")

TOLERANCE = 2e-3  # of 99.9 % of the values: half a step of alphas of 8 bits
LIBRARIES = "libraries of their own: pip install 'matting_jax[export]'"
CHECKED = 512  # side of the photo that a file for any size is checked with


@dataclass(frozen=True)
class Options:
    """What is exported, and how.

    Attributes:
        size: "HEIGHTxWIDTH" of the inputs, or "any".
        rule: export the test-time rule for photos of that size, and not only the network.
        platform: where a StableHLO file will run fast.
        overwrite: replace an existing file.
    """

    size: str = "512x512"
    rule: bool = False
    platform: str = "cpu"
    overwrite: bool = False


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        form: form of the layers in its files.
        facts: what its record says in addition.
        write: writes a graph and its record to a path.
        open: returns a file as a function that maps inputs to outputs, both by name.
        holds_record: whether the file holds the record, which otherwise stands beside it.
        any_size: whether there are files for inputs of any size.
    """

    form: str
    facts: Mapping[str, Any]
    write: Callable[[Graph, Path, Mapping[str, Any]], None]
    open: Callable[[Path], Runner]
    holds_record: bool = False
    any_size: bool = False


def stablehlo(options: Options) -> Format:
    """Returns the format of StableHLO files for one platform."""
    from matting_jax.export import stablehlo as room

    form, platforms = room.form_of(options.platform), room.platforms_of(options.platform)
    write = partial(room.write, platforms=platforms)
    return Format(form, {"platforms": platforms}, write, room.open_file, any_size=True)


def onnx(options: Options) -> Format:
    """Returns the format of ONNX files."""
    try:
        from matting_jax.export import onnx as room
    except ImportError as error:
        raise ImportError(f".onnx files need {LIBRARIES}") from error

    facts = {"operator_set": room.OPSET}
    return Format("lax", facts, room.write, room.open_file, holds_record=True)


FORMATS = {".stablehlo": stablehlo, ".onnx": onnx}


def export(
    model: nn.Module,
    variables: Mapping[str, Any],
    test_time: Mapping[str, Any],
    source: str | Path,
    output: str | Path,
    options: Options = Options(),  # noqa: B008 (it is frozen)
) -> None:
    """Writes a network with its weights, runs the file, and compares it with JAX.

    The record is in the file, or beside it as FILE.json. Nothing is left of a file that computes
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
        FileExistsError: if the output, or the record beside it, exists.
        ImportError: if the libraries of the format are missing.
        RuntimeError: if the file computes something else than JAX.
    """
    path = Path(output)
    found = FORMATS[one_of(path.suffix, FORMATS, "extension of --output")](options)
    for written in (path, *([] if found.holds_record else [side_car(path)])):
        if written.exists() and not options.overwrite:
            raise FileExistsError(f"{written} exists already: pass --overwrite to replace it")
    size = parse_size(options.size)
    if options.rule and None in size:
        raise ValueError("--rule needs the size of the photos: pass --size HEIGHTxWIDTH")
    if None in size and not found.any_size:
        raise ValueError(f"{path.suffix} files have one size: pass --size HEIGHTxWIDTH")
    build = partial(build_graph, model, variables, test_time, size=size, rule=options.rule)
    graph = build(form=found.form)
    identity = replace(
        identity_of(model, variables, source),
        keywords=keywords_of(model),
        test_time=dict(test_time),
    )
    record = {**make_record(graph, identity, rule=options.rule), **found.facts}
    with write_atomically(path) as temporary:
        logger.info(f"writing {path}")
        found.write(graph, temporary, record)
        logger.info("comparing it with JAX")
        check(found, temporary, build(form="auto"))
        record["sha256"] = sha256_of(temporary)
    if not found.holds_record:
        write_record(path, record)
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; licence of the weights: {record['licence']}"
    )


def identity_of(model: nn.Module, variables: Mapping[str, Any], source: str | Path) -> Identity:
    """Returns the identity of variables that were loaded from a workdir, a file or by a name."""
    identity, place = recall(variables) or Identity(name_of(model)), locate(source)
    return identity.with_origin(file=place.name) if place.is_file() else identity


def check(found: Format, path: Path, graph: Graph) -> None:
    """Raises RuntimeError if the file at `path` computes something else than `graph`."""
    shapes = {
        name: tuple(CHECKED if side is None else side for side in shape)
        for name, shape in graph.inputs.items()
    }
    inputs = sample_inputs(shapes)
    differences = compare(found.open(path)(inputs), run_jax(graph, inputs))
    for name, difference in differences.items():
        print(f"{name}: largest difference from JAX {difference}")
        if not difference.quantile <= TOLERANCE:
            raise RuntimeError(
                f"the file computes another {name} than JAX: 99.9 % of the values are within "
                f"{difference.quantile:.1e}, but {TOLERANCE} is the limit; nothing was written"
            )
