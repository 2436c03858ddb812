"""Programs with the primitives replaced that TensorFlow Lite lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core

from matting_jax.export.rewrite import FOR_LITE, FOR_TENSORFLOW, rewrite
from matting_jax.models.layers.attention import contextual_attention
from matting_jax.models.layers.pooling import max_pool_with_indices, max_unpool

x = np.random.default_rng(0).normal(size=(1, 6, 8, 4)).astype(np.float32)
matrix = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def attend(x):
    unknown = (x[:, :3, :4, 3] > 0).astype(jnp.float32)
    return contextual_attention(x[:, :3, :4], x, unknown, tile=2)


FUNCTIONS = {
    "matrix": lambda x: x @ matrix,
    "two axes": lambda x: jnp.einsum("bhwc,wcd->bhd", x, x[0, :3].transpose(1, 2, 0)),
    "bytes": lambda x: max_unpool(*max_pool_with_indices(x)),
    "loop": lambda x: lax.scan(lambda total, row: (total + row, total * row), x[0, 0], x[0])[1],
    "attention": attend,
    "axes of size 1": lambda x: x.reshape(1, 2, 3, 1, 8, 4).transpose(5, 0, 2, 3, 4, 1),
    "many axes": lambda x: x.reshape(3, 2, 2, 2, 2, 2, 2, 1).transpose(1, 7, 0, 3, 4, 2, 5, 6),
}


def equations(jaxpr):
    """Yields the equations of a program and of the programs within it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda y: hasattr(y, "jaxpr") or is_jaxpr(y)
        ):
            if hasattr(inner, "jaxpr") or is_jaxpr(inner):
                yield from equations(getattr(inner, "jaxpr", inner))


def is_jaxpr(value):
    return isinstance(value, core.Jaxpr)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rewritten_function_computes_the_same_without_what_is_replaced(name):
    function = FUNCTIONS[name]
    rewritten = rewrite(lambda image: {"y": function(image)}, FOR_LITE)
    found = jax.jit(lambda image: rewritten(image=image)["y"])(x)
    np.testing.assert_allclose(found, function(jnp.asarray(x)), rtol=1e-5, atol=1e-5)
    for equation in equations(jax.make_jaxpr(lambda image: rewritten(image=image))(x).jaxpr):
        assert equation.primitive.name not in ("scan", "dynamic_slice", "scatter-add")
        if equation.primitive.name == "dot_general":
            assert equation.params["dimension_numbers"][1] != ((), ())  # a batch of products
        for variable in equation.outvars:
            assert variable.aval.dtype != np.int8
        if equation.primitive.name == "transpose":
            assert variable.aval.ndim <= 6


def test_scattering_of_another_form_is_refused():
    rewritten = rewrite(lambda image: {"y": image.at[:, np.array([0, 2])].add(1.0)}, FOR_LITE)
    with pytest.raises(NotImplementedError, match="scatter-add"):
        rewritten(image=jnp.asarray(x))


def test_largest_elements_are_found_by_sorting():
    values = np.float32([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]])
    rewritten = rewrite(
        lambda image: dict(zip("vi", lax.top_k(image, 6), strict=True)), FOR_TENSORFLOW
    )
    found = rewritten(image=jnp.asarray(values))
    np.testing.assert_array_equal(found["v"], [[9, 6, 5, 5, 4, 3]])
    np.testing.assert_array_equal(found["i"], [[5, 7, 4, 8, 2, 0]])
    jaxpr = jax.make_jaxpr(lambda image: rewritten(image=image))(values).jaxpr
    assert "top_k" not in {equation.primitive.name for equation in equations(jaxpr)}
