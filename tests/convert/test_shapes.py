"""Shapes of variables are traced once and kept for later runs, where JAX keeps its programs."""

import jax
import pytest

import matting_jax as mj
from matting_jax.convert import shapes
from tests.tiny import Tiny

OPTIONS = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
read_or_trace = shapes.flat_shapes.__wrapped__  # without the cache of this process


@pytest.fixture
def folder(tmp_path):
    """Yields a folder in which JAX keeps its programs."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("name", ["gca", "bisenet_v2"])
def test_second_run_reads_what_the_first_one_traced(folder, monkeypatch, name):
    model = mj.create_model(name)
    traced = read_or_trace(model)
    assert traced == shapes.trace_shapes(model)
    monkeypatch.delattr(shapes, "trace_shapes")
    read = read_or_trace(model)
    assert list(read.items()) == list(traced.items())


@pytest.mark.parametrize("content", [b"", b"[[", b"[[1, 2]]", b"\xff", b'[["a", [3], "float99"]]'])
def test_damaged_file_is_replaced(folder, content):
    model = mj.create_model("bisenet_v2")
    file = shapes.shapes_file(model)
    file.parent.mkdir()
    file.write_bytes(content)
    traced = read_or_trace(model)
    assert traced == shapes.trace_shapes(model)
    assert shapes.parse_shapes(file.read_bytes()) == traced


def test_shapes_belong_to_one_variant_of_a_network(folder):
    models = [mj.create_model("modnet"), mj.create_model("modnet", context="none"), Tiny()]
    first, second, other = map(shapes.shapes_file, models)
    assert first != second and other is None


@pytest.mark.parametrize("place", [None, "", "gs://bucket/programs"])
def test_nothing_is_kept_without_a_local_folder_of_programs(folder, place):
    jax.config.update("jax_compilation_cache_dir", place)
    assert shapes.shapes_file(mj.create_model("modnet")) is None


def test_nothing_is_kept_where_jax_keeps_nothing(folder):
    jax.config.update("jax_enable_compilation_cache", False)
    assert shapes.shapes_file(mj.create_model("modnet")) is None
