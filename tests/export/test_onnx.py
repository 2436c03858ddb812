"""ONNX files: each primitive that networks need, and each network, run by onnxruntime."""

import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

pytest.importorskip("onnxruntime")

import onnx

from matting_jax.export import onnx as room
from matting_jax.export.graph import Graph
from matting_jax.image.geometry import downsample, enlarge_nearest, resize, upsample
from matting_jax.image.patches import cut, put
from matting_jax.models import create_model, example_inputs
from tests.export.networks import (
    NETWORKS,
    as_inputs,
    assert_close,
    images,
    published_matter,
    small_matter,
    write,
    write_only,
)

x = np.random.default_rng(0).normal(size=(1, 6, 8, 4)).astype(np.float32)

# Functions of x, float32 [1, 6, 8, 4], each with operators that some network needs.
FUNCTIONS = {
    "arithmetic": lambda x: -jnp.abs(x) * 2 + x / 3 - jnp.square(x) ** 3 + jnp.sign(x),
    "functions": lambda x: jnp.exp(x) + jnp.tanh(x) + lax.rsqrt(jnp.abs(x) + 1) + jnp.log(x * x),
    "rounding": lambda x: jnp.floor(3 * x) + jnp.rint(5 * x),
    "clipping": lambda x: jnp.clip(x, -0.5, 0.5) + jax.nn.relu(x) + jnp.minimum(x, x[:, :1]),
    "comparing": lambda x: jnp.where((x > 0) & ~(x >= 1) | (x != x[..., :1]), x, 7.0),
    "integers": lambda x: (jnp.arange(8)[:, None] % 3 + x.astype(int) // 2).astype(float),
    "broadcasting": lambda x: jnp.concatenate([jnp.broadcast_to(x[:, :1], x.shape), x], -1),
    "slicing": lambda x: x[:, ::-1, 1::2] + x[:, :, :4, :1],
    "splitting": lambda x: jnp.split(x, (1, 3), axis=-1)[1],
    "reflecting": lambda x: jnp.pad(x, ((0, 0), (2, 3), (1, 0), (0, 0)), mode="reflect"),
    "cutting": lambda x: lax.pad(x, 2.0, ((0, 0, 0), (-1, 2, 0), (3, -2, 0), (0, 0, 0))),
    "reducing": lambda x: jnp.mean(x, (1, 2)) + jnp.max(x, (1, 2)) - jnp.min(x, (1, 2)),
    "maximum": lambda x: jnp.argmax(x, -1).astype(jnp.float32),
    "largest": lambda x: lax.top_k(x.reshape(2, -1), 5)[1].astype(jnp.float32),
    "products": lambda x: jnp.einsum("bhwc,whd->bcd", x, jnp.tanh(x[0, :, :, :3].swapaxes(0, 1))),
    "batched products": lambda x: jnp.einsum("bhwc,bhvc->bhwv", x, 2 * x),
    "average pooling": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    ),
    "maximum pooling": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    ),
    "convolution": lambda x: lax.conv_general_dilated(
        x,
        np.cos(np.arange(3 * 2 * 2 * 6.0)).reshape(3, 2, 2, 6).astype(np.float32),
        (2, 1),
        ((2, 1), (0, 3)),
        rhs_dilation=(1, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    ),
    "one axis": lambda x: jnp.take(x, np.array([[2, 0], [1, 1]]), axis=2),
    "computed positions": lambda x: x[:, jnp.argmax(x[0, :, 0, 0]) + jnp.arange(9)],
    "windows": lambda x: cut(x, jnp.argmax(x[:, :3, 0], 1), jnp.argmax(x[:, :3, 1], 1), 4),
    "cells": lambda x: put(x, cells_of(x), x[0, :3].reshape(3, 2, 2, 8)[..., :4], some_of(x)),
    "adding at positions": lambda x: x.at[:, np.array([0, 5, 9]), np.array([7, 1, 2])].add(
        2 * x[:, :3, 0], mode="drop"
    ),
    "loop": lambda x: lax.scan(lambda total, row: (total + row, total * row), x[0, 0], x[0])[1],
    "reversed loop": lambda x: lax.scan(
        lambda total, row: (total + row, total), x[0, 0], x[0], reverse=True
    )[1],
    "gradient checkpoint": jax.checkpoint(lambda x: jnp.tanh(x) * 2),
    "repeating rows": lambda x: x.repeat(3, axis=1).repeat(2, axis=3),
    "other sides": lambda x: resize(resize(x, 9, 8), 18, 16),
    "sides in turn": lambda x: resize(resize(x, 12, 8), 24, 8),
    "selecting by another order": lambda x: jnp.where(
        rows(x[..., :6, :]).swapaxes(1, 2) >= 0, rows(x[..., :6, :]), 2 * rows(x[..., :6, :])
    ),
    "orders of a loop": lambda x: lax.scan(
        lambda total, row: (total + row, total * row),
        *(rows(x).swapaxes(0, 3)[i] for i in (0, slice(1, 3))),
    )[1],
}

# Functions of x, and the operators of ONNX by which they are computed.
FEW_OPERATORS = {
    "enlarging": (lambda x: rows(upsample(rows(x), 4)), {"Conv": 2, "Resize": 1}),
    "reducing": (lambda x: rows(downsample(rows(x), 2)), {"Conv": 2, "Resize": 1}),
    "repeating pixels": (
        lambda x: rows(rows(x).repeat(2, axis=1).repeat(2, axis=2)),
        {"Conv": 2, "Resize": 1},
    ),
    "repeating both axes": (lambda x: rows(enlarge_nearest(rows(x), 2)), {"Conv": 2, "Resize": 1}),
    "blocks of channels": (
        lambda x: rows(rows(x, 16).reshape(1, 6, 8, 2, 2, 4).swapaxes(2, 3).reshape(1, 12, 16, 4)),
        {"Conv": 2, "DepthToSpace": 1},
    ),
    "leaky": (lambda x: rows(jax.nn.leaky_relu(rows(x), 0.2)), {"Conv": 2, "LeakyRelu": 1}),
    "pixels by a matrix": (
        lambda x: rows((rows(x).reshape(-1, 4) @ jnp.eye(4, 5)).reshape(1, 6, 8, 5)),
        {"Conv": 3},
    ),
    "channels": (
        lambda x: rows(
            jnp.concatenate([jnp.split(rows(x) * jnp.arange(4.0), 2, -1)[0], rows(x)], -1)
        ),
        {"Conv": 3, "Mul": 1, "Slice": 1, "Concat": 1},
    ),
    "without what nobody needs": (lambda x: (jnp.exp(x), rows(x))[1], {"Conv": 1}),
}


def rows(x, features=4):
    """Convolves x along its rows."""
    kernel = np.cos(np.arange(3 * x.shape[-1] * features, dtype=np.float32))
    kernel = kernel.reshape(1, 3, x.shape[-1], features)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)


def cells_of(x):
    """Three computed cells of 2x2 pixels, [1, 3]."""
    return jnp.argsort(-jnp.arange(12) % 5)[None, :3] + jnp.argmax(x[:, :2, 0, 0], 1)[:, None]


def some_of(x):
    """Whether the cells count, [1, 3], the second not."""
    return jnp.array([[1, 0, 1]]) + 0 * jnp.argmax(x[:, :2, 0, 0], 1)[:, None]


@pytest.mark.parametrize("name", [*FUNCTIONS, *FEW_OPERATORS])
def test_function_computes_the_same_in_a_file(name, tmp_path):
    function = FUNCTIONS[name] if name in FUNCTIONS else FEW_OPERATORS[name][0]
    graph = Graph(lambda image: {"y": function(image).astype(jnp.float32)}, {"image": x.shape}, ())
    path = tmp_path / "x.onnx"
    room.write(graph, path, {})
    expected = np.asarray(function(jnp.asarray(x)), np.float32)
    assert expected.std() > 0
    np.testing.assert_allclose(
        room.open_file(path)({"image": x})["y"], expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", FEW_OPERATORS)
def test_maps_of_features_are_computed_without_transposing_them(name):
    function, operators = FEW_OPERATORS[name]
    graph = Graph(lambda image: {"y": function(image)}, {"image": x.shape}, ())
    found = Counter(node.op_type for node in room.build(graph, {}).graph.node)
    # The input and the output have their channels last.
    assert found == {**operators, "Transpose": 2, "Identity": 1}


def test_primitive_without_an_operator_is_named(tmp_path):
    graph = Graph(lambda image: {"y": jnp.sort(image)}, {"image": x.shape}, ())
    with pytest.raises(NotImplementedError, match="sort has no operator"):
        room.write(graph, tmp_path / "x.onnx", {})


def test_constants_are_not_enlarged():
    """A value that is broadcast over the image is stored once."""
    shape = (1, 64, 64, 3)
    graph = Graph(lambda image: {"y": image * jnp.arange(3.0) + 0.5}, {"image": shape}, ())
    model = room.build(graph, {})
    assert max(np.prod(w.dims) for w in model.graph.initializer) <= 3


@pytest.mark.parametrize("name", ["tiny", "tiny_trimap", "tiny_background"])
def test_rule_in_a_file_gives_the_alpha_of_a_matter(name, tmp_path):
    matter, path = small_matter(name), tmp_path / "rule.onnx"
    assert write(matter, path, size="50x70", rule=True) is None  # the record is in the file
    given = images(matter, 50, 70)
    alpha = matter(**given)
    np.testing.assert_allclose(
        room.open_file(path)(as_inputs(given))["alpha"][0, ..., 0], alpha, atol=1e-6
    )
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["network"] == name and metadata["computes"].startswith("the test-time rule")
    inputs = json.loads(metadata["inputs"])
    assert list(inputs) == list(example_inputs(create_model(name)))
    assert inputs["image"] == {"shape": [1, 50, 70, 3], "values": "RGB, float32 in [0, 1]"}


@pytest.mark.parametrize(
    ("weights", "share", "error"), [("float16", 0.5, 1e-3), ("int8", 0.25, 2e-2)]
)
def test_kernels_are_stored_in_fewer_bits(weights, share, error, tmp_path):
    kernel = np.random.default_rng(2).normal(size=(3, 3, 4, 64)).astype(np.float32)
    matrix = np.random.default_rng(3).normal(size=(64, 500)).astype(np.float32) / 8

    def function(image):
        y = lax.conv_general_dilated(
            image, kernel / 6, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return {"y": y @ matrix}

    graph, sizes, outputs = Graph(function, {"image": x.shape}, ()), {}, {}
    for stored in ("float32", weights):
        path = tmp_path / f"{stored}.onnx"
        room.write(graph, path, {}, weights=stored)
        sizes[stored], outputs[stored] = (
            path.stat().st_size,
            room.open_file(path)({"image": x})["y"],
        )
    assert sizes[weights] < (share + 0.05) * sizes["float32"]
    difference = np.abs(outputs[weights] - outputs["float32"])
    assert 0 < difference.max() and difference.mean() < error * outputs["float32"].std()


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS)
def test_rule_of_a_network_computes_the_same_in_a_file(case, tmp_path):
    """The rule holds the network."""
    options = {"reference_size": 64} if case == "modnet" else {}
    matter, path = published_matter(case, **options), tmp_path / "network.onnx"
    given = images(matter, 72, 90)
    write_only(matter, path, (72, 90), rule=True)
    ((_, output), *_) = room.open_file(path)(as_inputs(given)).items()
    expected = matter(**given).reshape(output.shape)
    assert_close(output, expected)


@pytest.mark.slow
# Those with outputs that the test of the rule does not compare.
@pytest.mark.parametrize("case", ["bgmv2", "bisenet_v2"])
def test_network_computes_the_same_in_a_file(case, tmp_path):
    matter, path = published_matter(case), tmp_path / "network.onnx"
    inputs = as_inputs(images(matter, 64, 64))
    write_only(matter, path, (64, 64))
    for head, output in room.open_file(path)(inputs).items():
        assert_close(output, matter.apply(head, **inputs))
