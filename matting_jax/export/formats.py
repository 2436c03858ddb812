"""The formats of exported files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.choices import one_of
from matting_jax.export.graph import ANY, Graph

Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

WEIGHTS = ("float32", "float16", "int8")  # how kernels are stored
LIBRARIES = "libraries of their own: pip install 'matting_jax[export]'"


@dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        size: "HEIGHTxWIDTH" of the inputs, or "any".
        rule: export the test-time rule for photos of that size, and not only the network.
        platform: where a StableHLO file will run fast.
        weights: how kernels are stored: "float32", "float16" or "int8".
        overwrite: replace an existing file.
    """

    size: str = "512x512"
    rule: bool = False
    platform: str = "cpu"
    weights: str = "float32"
    overwrite: bool = False


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        form: form of the layers in its files.
        facts: what its record says in addition.
        write: writes a graph and its record to a path.
        open: returns a file as a function that maps inputs to outputs, both by name.
        holds_record: whether the file holds the record, which is otherwise a file next to it.
        any_size: whether there are files for inputs of any size.
        compact_weights: whether kernels may be stored in fewer bits.
        contents: names in a folder of this format; none of a file.
    """

    form: str
    facts: Mapping[str, Any]
    write: Callable[[Graph, Path, Mapping[str, Any]], None]
    open: Callable[[Path], Runner]
    holds_record: bool = False
    any_size: bool = False
    compact_weights: bool = True
    contents: frozenset[str] = frozenset()

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return bool(self.contents)


def stablehlo(options: Options) -> Format:
    """Returns the format of StableHLO files for one platform."""
    from matting_jax.export import stablehlo as room

    form, platforms = room.form_of(options.platform), room.platforms_of(options.platform)
    write = partial(room.write, platforms=platforms)
    facts = {"platforms": platforms}
    return Format(form, facts, write, room.open_file, any_size=True, compact_weights=False)


def savedmodel(options: Options) -> Format:
    """Returns the format of SavedModel folders for one platform."""
    from matting_jax.export import savedmodel as room
    from matting_jax.export.stablehlo import form_of, platforms_of

    form, platforms = form_of(options.platform), platforms_of(options.platform)
    write = partial(room.write, platforms=platforms)
    facts = {"platforms": platforms}
    return Format(form, facts, write, room.open_file, compact_weights=False, contents=room.CONTENTS)


def onnx(options: Options) -> Format:
    """Returns the format of ONNX files."""
    try:
        from matting_jax.export import onnx as room
    except ImportError as error:
        raise ImportError(f".onnx files need {LIBRARIES}") from error

    facts = {"operator_set": room.OPSET, "weights": options.weights}
    write = partial(room.write, weights=options.weights)
    return Format("lax", facts, write, room.open_file, holds_record=True)


def tflite(options: Options) -> Format:
    """Returns the format of TensorFlow Lite files."""
    try:
        from matting_jax.export import tflite as room
    except ImportError as error:
        raise ImportError(f".tflite files need {LIBRARIES}") from error

    write = partial(room.write, weights=options.weights)
    return Format("lax", {"weights": options.weights}, write, room.open_file)


FOLDER = "savedmodel/"
FORMATS = {".onnx": onnx, ".tflite": tflite, ".stablehlo": stablehlo, FOLDER: savedmodel}


def find_format(output: str, options: Options) -> Format:
    """Returns the format of a file by its extension, or of a folder by a slash at its end.

    Raises ValueError for an unknown extension, and for options that the format does not have.
    """
    extension = FOLDER if output.endswith("/") else Path(output).suffix
    found = FORMATS[one_of(extension, FORMATS, "extension of --output")](options)
    one_of(options.weights, WEIGHTS, "weights")
    if options.weights != "float32" and not found.compact_weights:
        raise ValueError(f"{extension} has weights of float32: omit --weights")
    if options.platform != "cpu" and "platforms" not in found.facts:
        raise ValueError(f"{extension} files are for every platform: omit --platform")
    if options.size == ANY and not found.any_size:
        raise ValueError(
            f"{extension} has one size: pass --size HEIGHTxWIDTH, or write a .stablehlo file, "
            "which may have any"
        )
    return found
