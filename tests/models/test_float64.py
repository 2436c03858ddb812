"""Every network runs in float64, which comparisons with official code use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.image.patches import cut
from matting_jax.models import NETWORKS, create_model, example_inputs

# Variants that are traced faster.
SMALL = {"pp_matting": {"backbone": "hrnet_w18"}}
REFINED = [
    ("bgmv2", {"refine_mode": mode, "kernel_size": size})
    for mode, size in (("sampling", 1), ("thresholding", 3), ("full", 1))
]


def as_float64(tree):
    """Returns shapes of a tree with float64 in place of other floats."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, jnp.float64 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype
        ),
        tree,
    )


@pytest.mark.parametrize(
    ("name", "keywords"), [*((name, SMALL.get(name, {})) for name in NETWORKS), *REFINED], ids=str
)
def test_outputs_and_statistics_of_float64_are_float64(name, keywords):
    model = create_model(name, **keywords)
    with jax.enable_x64(True):
        inputs = as_float64(example_inputs(model))
        variables = as_float64(jax.eval_shape(model.init, jax.random.key(0), **inputs))

        def run(variables, inputs):
            return model.apply(variables, **inputs, mutable=True)

        outputs, updated = jax.eval_shape(run, variables, inputs)
    assert {x.dtype for x in jax.tree.leaves((outputs, updated))} == {np.dtype("float64")}


def test_windows_are_cut_at_positions_of_32_bits():
    image = np.arange(2 * 4 * 5, dtype=np.float64).reshape(2, 4, 5, 1)
    with jax.enable_x64(True):
        rows, columns = jnp.array([[0], [2]], jnp.int32), jnp.array([[1], [3]], jnp.int32)
        windows = np.asarray(cut(jnp.asarray(image), rows, columns, 2))
    assert windows.dtype == np.float64
    np.testing.assert_array_equal(windows[..., 0], [[[1, 2], [6, 7]], [[33, 34], [38, 39]]])
