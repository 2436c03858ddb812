"""Traces are used again, only for what they were made of, and never in the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax import kept
from matting_jax.prediction import traces
from matting_jax.prediction.programs import Program, Programs
from tests.tiny import Tiny

PROGRAM = Program(("alpha",), (("image", (1, 4, 5, 3)),))
IMAGE = np.random.default_rng(0).random((1, 4, 5, 3), np.float32)


def made_programs(folder, calls):
    """Returns Programs of a function that appends to `calls` when it is traced."""

    def function(variables, inputs, heads):
        calls.append(heads)
        return jnp.tanh(inputs["image"] * variables["scale"]).sum(-1)

    programs = Programs("sum", function)
    programs.variables = {"scale": jax.device_put(np.float32([1, 2, 3]))}
    programs.trace_file = lambda variables, program: folder / "sum.trace"
    return programs


def test_second_run_traces_nothing_and_takes_its_own_weights(tmp_path):
    calls = []
    first = made_programs(tmp_path, calls).run(("alpha",), {"image": IMAGE})
    assert len(calls) == 1 and (tmp_path / "sum.trace").exists()
    again = made_programs(tmp_path, calls)
    np.testing.assert_array_equal(again.run(("alpha",), {"image": IMAGE}), first)
    again.variables = {"scale": jax.device_put(np.float32([0, 0, 0]))}
    assert not again.run(("alpha",), {"image": IMAGE}).any()
    assert len(calls) == 1


@pytest.mark.parametrize("content", [b"", b"no trace", None])
def test_damaged_trace_is_replaced_and_a_folder_that_is_a_file_does_no_harm(tmp_path, content):
    calls, file = [], tmp_path / "sum.trace"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    expected = np.tanh(IMAGE * np.float32([1, 2, 3])).sum(-1)
    output = made_programs(tmp_path, calls).run(("alpha",), {"image": IMAGE})
    np.testing.assert_allclose(output, expected, rtol=1e-5)
    if content is not None:
        made_programs(tmp_path, calls).run(("alpha",), {"image": IMAGE})
        assert len(calls) == 1


def test_trace_belongs_to_one_network_program_and_kind_of_weights(tmp_path, monkeypatch):
    weights = {"scale": np.zeros(3, np.float32)}
    larger = Program(("alpha",), (("image", (1, 8, 5, 3)),))
    given = [
        (mj.create_model("modnet"), weights, PROGRAM),
        (mj.create_model("modnet", context="none"), weights, PROGRAM),
        (mj.create_model("gca"), weights, PROGRAM),
        (mj.create_model("modnet"), {"scale": np.zeros(4, np.float32)}, PROGRAM),
        (mj.create_model("modnet"), {"scale": np.zeros(3, np.float16)}, PROGRAM),
        (mj.create_model("modnet"), {"shift": np.zeros(3, np.float32)}, PROGRAM),
        (mj.create_model("modnet"), weights, larger),
        (mj.create_model("modnet"), weights, PROGRAM._replace(heads=("detail",))),
    ]
    files = {traces.trace_file(tmp_path, *x) for x in given}
    assert len(files) == len(given) and {x.parent for x in files} == {tmp_path}
    assert traces.trace_file(tmp_path, *given[0]) in files
    with jax.default_matmul_precision("highest"):
        assert traces.trace_file(tmp_path, *given[0]) not in files
    monkeypatch.setattr(kept, "source_digest", lambda: "another version")
    assert traces.trace_file(tmp_path, *given[0]) not in files
    assert traces.trace_file(tmp_path, Tiny(), weights, PROGRAM) is None
