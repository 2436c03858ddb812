import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.equations import evaluate, needed_equations


def layers(x, scale):
    """Many alike layers, and one whose result is not needed."""
    unused = jnp.sort(x)
    for _ in range(5):
        x = jax.nn.relu(x - scale["by"]) * 2
    return {"x": x, "same": (x, scale["by"])}, unused


def test_values_are_those_of_the_program():
    x, scale = jnp.linspace(-1, 3, 12).reshape(3, 4), {"by": jnp.float32(0.25)}
    traced = jax.jit(layers).trace(x, scale=scale)
    expected, found = layers(x, scale), evaluate(traced, x, scale=scale)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_no_result_needs_is_not_computed():
    calls = []

    def count(x):
        calls.append(x)
        return x

    def function(x, needed):
        y = jax.pure_callback(count, x, x)
        return y + 1 if needed else x + 1

    for needed in (False, True):
        traced = jax.jit(function, static_argnames="needed").trace(jnp.ones(()), needed)
        assert evaluate(traced, jnp.ones(())) == 2
        assert len(calls) == needed


def test_needed_equations_keep_their_order():
    program = jax.make_jaxpr(lambda x: layers(x, {"by": 1.0})[0]["x"])(jnp.ones(3)).jaxpr
    equations = needed_equations(program)
    assert "sort" in str(program) and "sort" not in str(equations)
    assert [e for e in program.eqns if e in equations] == equations
