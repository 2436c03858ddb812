"""Multiply-adds counted from the operations of a function."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from matting_jax.models import create_model
from matting_jax.models.cost import forward_cost, multiply_adds
from tests.helpers import ROOT


@pytest.mark.parametrize(
    ("context", "expected", "parameters"),
    [
        ("se", 15.466, 6_487_075),
        ("easpp", 15.677, 6_501_795),
        ("aspp", 29.308, 61_390_115),
        ("none", 15.465, 5_667_875),
    ],
)
def test_contexts_of_modnet_cost_what_its_page_says(context, expected, parameters):
    """Alpha of "se" costs as much as official; the rest was counted by hand from the products."""
    model = create_model("modnet", context=context, form="lax")
    image = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == parameters
    cost = multiply_adds(lambda v, x: model.apply(v, image=x)["alpha"], shapes, image)
    assert cost / 1e9 == pytest.approx(expected, abs=6e-4)
    row = f"| `{context}` | {parameters:,} | {cost / 1e9:.2f} G |"
    assert row in (ROOT / "docs" / "modnet.md").read_text()


def test_forward_pass_of_modnet_costs_as_much_as_official():
    """In the form "cpu" it would cost less."""
    model = create_model("modnet", form="cpu")
    image = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    cost = forward_cost(model, shapes, {"image": image})
    assert cost / 1e9 == pytest.approx(18.117, abs=6e-4)
    assert multiply_adds(lambda v, x: model.apply(v, image=x), shapes, image) < 0.95 * cost


def test_matrix_products_count_batch_rows_columns_and_depth():
    x, y = jnp.zeros((5, 2, 3)), jnp.zeros((5, 3, 7))
    assert multiply_adds(lambda x, y: x @ y, x, y) == 5 * 2 * 3 * 7


@pytest.mark.parametrize(
    "stride, groups, expected",
    [
        (1, 1, 2 * 8 * 6 * 4 * 9 * 10),
        (2, 1, 2 * 4 * 3 * 4 * 9 * 10),
        (1, 2, 2 * 8 * 6 * 2 * 9 * 10),
        (1, 4, 2 * 8 * 6 * 1 * 9 * 12),
    ],
)
def test_convolutions_count_outputs_times_taps(stride, groups, expected):
    x = jnp.zeros((2, 8, 6, 4))
    kernel = jnp.zeros((3, 3, 4 // groups, 12 if groups == 4 else 10))
    count = multiply_adds(
        lambda x, k: lax.conv_general_dilated(
            x,
            k,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        ),
        x,
        kernel,
    )
    assert count == expected


def test_loop_body_counts_once_for_each_iteration():
    matrix = jnp.zeros((4, 4))

    def function(m):
        return lax.scan(lambda x, _: (jax.jit(lambda x: m @ x)(x), None), m, None, length=6)[0]

    assert multiply_adds(function, matrix) == 6 * 4**3
    assert multiply_adds(lambda m: lax.map(lambda r: r @ m, m), matrix) == 4 * 16


def test_unused_operations_are_not_counted():
    matrix = jnp.zeros((4, 4))

    def function(m):
        _ = (m @ m) @ m
        return m @ m

    assert multiply_adds(function, matrix) == 4**3
    assert multiply_adds(lambda m: m + 1, matrix) == 0


def test_one_branch_of_a_conditional_is_counted():
    matrix = jnp.zeros((4, 4))
    count = multiply_adds(
        lambda m: lax.cond(m[0, 0] > 0, lambda m: m @ m, lambda m: m @ m, m), matrix
    )
    assert count == 4**3


def test_nothing_is_computed():
    huge = jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)
    assert multiply_adds(lambda m: m @ m, huge) == 10**18
