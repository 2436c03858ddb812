"""The forward passes of all networks, and video frames of those that are published as real-time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.benchmark.accelerator.case import Case, Row, measure_calls, median_seconds
from matting_jax.models import NETWORKS, create_model, example_inputs, name_of, network_of

# dtype and matmul precision by the name in the table. On recent GPUs the default precision of
# float32 rounds the factors of a product to TF32.
PRECISIONS = {
    "float32": (None, None),
    "float32 exact": (None, "highest"),
    "bfloat16": (jnp.bfloat16, None),
}

# Network, keywords, and height x width of a frame, with the frames a second of the paper. The
# graphics cards are a GTX 1080 Ti for the first two papers and an RTX 2080 Ti for the third.
BACKGROUND_4K = {"backbone_scale": 0.125, "sample_pixels": 320_000}
FRAMES = (
    ("modnet", {}, (512, 512), 67),
    ("bisenet_v2", {}, (512, 1024), 156),
    ("bisenet_v2", {}, (1024, 512), None),
    ("bgmv2", {}, (1080, 1920), 60),
    ("bgmv2", BACKGROUND_4K, (2160, 3840), 30),
)


def frames(small: bool) -> Iterator[Case]:
    """Yields frames of one photo: bytes in, alpha as bytes or the class of each pixel out."""
    for name, keywords, (height, width), published in FRAMES:
        if small:
            height, width = height // 8 // 4 * 4, width // 8 // 4 * 4
        for precision, (dtype, matmul) in PRECISIONS.items():
            if precision == "float32 exact" and name != "modnet":
                continue
            model = create_model(name, dtype=dtype, **keywords)
            shapes = variables_and_inputs(model, height, width, jnp.uint8)
            yield Case(
                "frames",
                f"{name} {height}x{width} {precision}",
                frame_program(model),
                shapes,
                partial(measure_frames, published=published),
                precision=matmul,
            )


def frame_program(model: Any) -> Callable[..., jax.Array]:
    """Returns jitted f(variables, inputs), from uint8 [1, H, W, C] to uint8 [1, H, W]."""
    output = network_of(model).output

    def run(variables: Any, inputs: Any) -> jax.Array:
        floats = {name: x.astype(jnp.float32) / 255 for name, x in inputs.items()}
        x = model.apply(variables, **floats)[output]
        if output != "alpha":
            return jnp.argmax(x, -1).astype(jnp.uint8)
        return jnp.round(255 * jnp.clip(x[..., 0], 0, 1)).astype(jnp.uint8)

    return jax.jit(run)


def measure_frames(
    program: Callable[..., Any], arguments: Any, seconds: float, published: float | None
) -> Row:
    """Times frames on the device, and one by one with the copies from and to the host."""
    row = measure_calls(program, arguments, seconds)
    variables, inputs = arguments
    frame = np.asarray(inputs["image"])

    def with_copies() -> np.ndarray:
        return np.asarray(program(variables, inputs | {"image": jax.device_put(frame)}))

    row["host_milliseconds"] = 1e3 * median_seconds(with_copies, seconds)
    row["host_per_second"] = 1e3 / row["host_milliseconds"]
    return row | ({"published_per_second": published} if published else {})


def forwards(small: bool, height: int, width: int) -> Iterator[Case]:
    """Yields the forward pass of each network for one photo, in float32 and bfloat16."""
    part = f"forward {height}x{width}"
    if small:
        height = width = 64
    for name in NETWORKS:
        for precision in ("float32", "bfloat16"):
            model = create_model(name, dtype=PRECISIONS[precision][0])
            shapes = variables_and_inputs(model, height, width, jnp.float32)

            def run(variables: Any, inputs: Any, model: Any = model) -> jax.Array:
                return model.apply(variables, **inputs)[network_of(model).output]

            yield Case(part, f"{name} {precision}", jax.jit(run), shapes)


def variables_and_inputs(model: Any, height: int, width: int, dtype: Any) -> tuple[Any, Any]:
    """Returns the shapes of the variables of a network and of its inputs for one photo."""
    inputs = jax.eval_shape(lambda: example_inputs(model, height, width))
    inputs = {name: jax.ShapeDtypeStruct(x.shape, dtype) for name, x in inputs.items()}
    return variables_of(name_of(model)), inputs


@cache
def variables_of(name: str) -> Any:
    """Returns the shapes of the variables of a network, which the keywords here do not change."""
    model = create_model(name)
    return jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
