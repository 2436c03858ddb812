"""Measures the network of a config on this machine (--mode benchmark)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from matting_jax.benchmark.accelerator.case import MIB, Row, fill, median_seconds
from matting_jax.choices import at_least
from matting_jax.export.graph import parse_size
from matting_jax.files import check_new_file, write_atomically
from matting_jax.models import create_model, example_inputs
from matting_jax.models.cost import multiply_adds
from matting_jax.models.layers.dtypes import compute_dtype
from matting_jax.models.layers.forms import use_lax_form
from matting_jax.prediction.matter import Matter, select_heads
from matting_jax.prediction.programs import Program, program_of

# Side of the matrices whose product measures the peak of a device, by platform.
SIDES = {"cpu": 2048}
SIDE = 8192
COLUMNS = (  # heading, field, format
    ("program", "program", "{}"),
    ("compile s", "compile_seconds", "{:.1f}"),
    ("ms an image", "image_milliseconds", "{:.2f}"),
    ("images/s", "per_second", "{:.1f}"),
    ("peak MiB", "peak_mib", "{:.0f}"),
    ("G multiply-adds", "giga_multiply_adds", "{:.1f}"),
    ("share of peak", "share_of_peak", "{:.0%}"),
)


@dataclass(frozen=True)
class Options:
    """Options of `benchmark`, named as the flags of the command line.

    Attributes:
        size: "HEIGHTxWIDTH" of the photo.
        batch: photos that pass through the network at a time; 0: one for each device.
        seconds: about what timing a program takes.
        overwrite: replace an existing file of results.
    """

    size: str = "512x512"
    batch: int = 0
    seconds: float = 5.0
    overwrite: bool = False


def benchmark(config: ConfigDict, output: str | None, options: Options) -> dict[str, Any]:
    """Prints what the network of a config costs on this machine, and returns all figures.

    Rows are the network in each pass of its test-time rule, with everything on the device, and the
    prediction of a whole photo: rule, copies and network. Weights are random.

    Args:
        config: names the network, its keywords, its dtype and the options of its test-time rule.
        output: JSON file of the figures, or None.
        options: what the command line's flags say.

    Raises:
        ValueError: if an option is not valid.
        FileExistsError: if `output` exists and is not to be replaced.
    """
    height, width = parse_size(options.size, any_size=False)
    at_least(options.batch, 0, "--batch")
    if output:
        check_new_file(Path(output), options.overwrite)
    matter = make_matter(config)
    batch = options.batch or jax.local_device_count()
    peak = measure_peak(matter, options.seconds / 5)
    report = describe(config, options.size, batch, peak)
    print(*(f"{name}: {value}" for name, value in report.items()), sep="\n")
    print("".join(f"{heading:>16}" for heading, _, _ in COLUMNS), flush=True)
    report["rows"] = []
    for row in measure_rows(matter, (height, width), batch, peak, options.seconds):
        report["rows"].append(row)
        print("".join(f"{text:>16}" for text in cells(row)), flush=True)
    if output:
        with write_atomically(Path(output)) as file:
            file.write_text(json.dumps(report, indent=1))
    return report


def make_matter(config: ConfigDict) -> Matter:
    """Returns the network of a config with random weights."""
    dtype = compute_dtype(config.compute_dtype)
    keywords = {**config.model, **({"dtype": dtype} if dtype is not None else {})}
    model = create_model(config.name, **keywords)
    shapes = jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
    return Matter(config.name, fill(shapes), test_time=config.test_time, **keywords)


def describe(config: ConfigDict, size: str, batch: int, peak: float) -> dict[str, Any]:
    """Returns what was measured, and on which device."""
    devices = jax.local_devices()
    return {
        "network": config.name,
        "photo": size,
        "batch": batch,
        "compute_dtype": config.compute_dtype,
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "jax": jax.__version__,
        "peak_teraflops": round(peak, 3),
    }


def measure_peak(matter: Matter, seconds: float) -> float:
    """Returns TFLOP/s of a product of large matrices in the network's dtype, on all devices."""
    devices = jax.local_devices()
    side = SIDES.get(devices[0].platform, SIDE)
    matrix = jnp.ones((side, side), getattr(matter.model, "dtype", None) or jnp.float32)
    product = jax.jit(jnp.matmul)
    once = median_seconds(lambda: product(matrix, matrix), seconds)
    return len(devices) * 2 * side**3 / once / 1e12


def measure_rows(
    matter: Matter, size: tuple[int, int], batch: int, peak: float, seconds: float
) -> Iterator[Row]:
    """Yields the figures of each pass of the network, and of a whole photo.

    Args:
        matter: the network.
        size: height and width of the photo.
        batch: photos in a pass.
        peak: TFLOP/s that the share refers to.
        seconds: about what timing a program takes.
    """
    photo, inputs = draw_photo(size), draw_inputs(matter, size)
    for head, passed in matter.passes(matter.checked(photo, **inputs)).items():
        program = program_of((head,), passed).with_count(batch)
        yield measure_pass(matter, program, peak, seconds)
    call = partial(matter, photo, **inputs)
    milliseconds = 1e3 * median_seconds(call, seconds)
    yield {
        "program": "photo",
        "image_milliseconds": milliseconds,
        "per_second": 1e3 / milliseconds,
    }


def measure_pass(matter: Matter, program: Program, peak: float, seconds: float) -> Row:
    """Returns the figures of one program; takes what `measure_rows` takes."""
    programs = matter.programs
    start = time.perf_counter()
    compiled = programs.compile(program)
    row = {
        "program": f"{program.size[0]}x{program.size[1]}",
        "compile_seconds": time.perf_counter() - start,
    }
    variables, inputs = programs.variables_of(program), fill(program.inputs)
    milliseconds = 1e3 * median_seconds(lambda: compiled(variables, inputs), seconds)
    operations = multiply_adds(plain(matter, program.heads), variables, inputs)
    if memory := compiled.memory_analysis():
        row["peak_mib"] = memory_in_all(memory) / MIB
    return {
        **row,
        "milliseconds": milliseconds,
        "image_milliseconds": milliseconds / program.count,
        "per_second": 1e3 * program.count / milliseconds,
        "giga_multiply_adds": operations / program.count / 1e9,
        "share_of_peak": 2e-9 * operations / milliseconds / peak,
    }


def memory_in_all(memory: Any) -> int:
    """Returns the bytes of weights, inputs, results and temporary arrays, by XLA's plan."""
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return memory.temp_size_in_bytes + held - memory.alias_size_in_bytes


def plain(matter: Matter, heads: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    """Returns a network's outputs with all layers as written, whose operations papers count."""
    model = use_lax_form(matter.model)
    return lambda variables, inputs: select_heads(model, matter.name, variables, inputs, heads)


def draw_photo(size: tuple[int, int]) -> np.ndarray:
    """Returns a photo [H, W, 3] uint8 of noise."""
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def draw_inputs(matter: Matter, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Returns what the network takes in addition: a trimap in thirds, or a background."""
    height, width = size
    trimap = np.uint8([0, 128, 255])[np.arange(width) * 3 // width]
    made = {"trimap": np.tile(trimap, (height, 1)), "background": draw_photo(size)[::-1]}
    return {name: made[name] for name in matter.needs}


def cells(row: Row) -> Iterator[str]:
    """Yields the texts of a line of the table."""
    for _, field, form in COLUMNS:
        yield form.format(row[field]) if field in row else ""
