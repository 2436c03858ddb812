"""The benchmark of accelerators: its figures, its limit of time, and programs that fail."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.benchmark.accelerator import __main__ as program
from matting_jax.benchmark.accelerator.case import Case, compile_case, fill, time_case
from matting_jax.benchmark.accelerator.steps import step_cases
from matting_jax.models import NETWORKS
from tests.tiny import TINY, register_tiny, tiny_config

SIDE = 64


def product(small: bool):
    """Yields a product of matrices, and a program that cannot be compiled."""
    matrix = jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)
    yield Case("products", "square", jax.jit(jnp.dot), (matrix, matrix), items=3)
    odd = jax.ShapeDtypeStruct((SIDE + 1, SIDE), jnp.float32)
    yield Case("products", "wrong", jax.jit(jnp.dot), (matrix, odd))


def run(tmp_path, monkeypatch, capsys, *arguments):
    """Returns the report and the printed lines of the benchmark of `product`."""
    monkeypatch.setattr(program, "PARTS", {"products": product})
    path = tmp_path / "report.json"
    program.main(["--seconds", "0.001", "--output", str(path), *arguments])
    return json.loads(path.read_text()), capsys.readouterr().out.splitlines()


def test_program_gets_its_figures_and_a_failing_one_its_error(tmp_path, monkeypatch, capsys):
    report, lines = run(tmp_path, monkeypatch, capsys)
    assert report["device"] == f"{jax.device_count()} x cpu (cpu)"
    square, wrong = report["rows"]
    assert (square["part"], square["program"]) == ("products", "square")
    assert square["giga_multiply_adds"] == SIDE**3 / 1e9
    assert square["peak_mib"] >= 3 * 4 * SIDE**2 / 2**20
    assert square["per_second"] == pytest.approx(3e3 / square["milliseconds"])
    operations = 2 * SIDE**3 / (square["milliseconds"] / 1e3)
    assert square["teraflops"] == pytest.approx(operations / 1e12)
    assert "dot_general" in wrong["error"] and "milliseconds" not in wrong
    assert [line.split()[1] for line in lines[-2:]] == ["square", "wrong"]


def test_nothing_starts_after_the_limit(tmp_path, monkeypatch, capsys):
    report, _ = run(tmp_path, monkeypatch, capsys, "--minutes", "0")
    assert [row["error"] for row in report["rows"]] == ["TimeoutError: no time left"] * 2


def test_filled_arrays_keep_the_variance_of_activations():
    leaf = jax.ShapeDtypeStruct
    shapes = {"kernel": leaf((3, 3, 64, 128), jnp.float32), "scale": leaf((128,), jnp.float32)}
    shapes |= {"bias": leaf((128,), jnp.float32), "u": leaf((128,), jnp.float32)}
    arrays = fill(shapes)
    # Half of the inputs of a convolution after a ReLU are 0.
    assert np.var(arrays["kernel"]) == pytest.approx(2 / (9 * 64), rel=0.02)
    assert set(np.asarray(arrays["scale"])) == {1} and set(np.asarray(arrays["bias"])) == {0}
    assert np.linalg.norm(arrays["u"]) == pytest.approx(1)


def test_training_steps_and_their_synthesis_are_timed():
    """The state is donated, so that each step must take that of the step before it."""
    register_tiny()
    config = tiny_config()
    names = ["foreground", "alpha", "background"]
    step, synthesis = step_cases("tiny", config, names)
    for case in (step, synthesis):
        program, row = compile_case(case)
        row = time_case(case, program, row, 0.001)
        assert row["per_second"] == pytest.approx(1e3 * config.batch_size / row["milliseconds"])
        assert (row.get("dispatch_milliseconds", 0) > 0) == (case is step)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["frames", "forward", "layers"])
def test_every_program_is_measured(part, tmp_path, monkeypatch):
    """At tiny sizes; each has a time, and frames have one with the copies too.

    Left out are the steps of MODNet and GCA, which compile for minutes, and programs of bfloat16,
    which a CPU computes slowly.
    """
    for name in TINY:  # which take no dtype
        monkeypatch.delitem(NETWORKS, name)
    cases = program.PARTS[part]

    def in_float32(small):
        return (case for case in cases(small) if "bfloat16" not in case.name)

    monkeypatch.setitem(program.PARTS, part, in_float32)
    path = tmp_path / "report.json"
    flags = ["--small", "--minutes", "60", "--seconds", "0.001", "--threads", "2"]
    program.main([*flags, "--parts", part, "--output", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert {row["program"]: row["error"] for row in rows if "error" in row} == {}
    assert len(rows) == len(list(in_float32(True)))
    assert all(row["milliseconds"] > 0 for row in rows)
    if part == "frames":
        assert all(row["host_milliseconds"] > 0 for row in rows)
