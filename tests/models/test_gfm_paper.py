"""The form of GFM's network in the paper, and the logits that its loss takes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.models import gfm
from matting_jax.models.layers.norms import BatchNorm


def shapes_of(model):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.mark.parametrize("backbone", gfm.DECODERS)
def test_summed_pyramid_gives_the_glance_decoder_the_width_of_one_input(backbone):
    """All else has the shapes of the released network."""
    concatenated, summed = (
        shapes_of(mj.create_model("gfm", backbone=backbone, pyramid=pyramid))["params"]
        for pyramid in ("concatenate", "sum")
    )
    changed = set()
    for (path, wide), narrow in zip(
        jax.tree_util.tree_leaves_with_path(concatenated), jax.tree.leaves(summed), strict=True
    ):
        if wide.shape != narrow.shape:
            *module, layer, leaf = (key.key for key in path)
            assert (module[0], layer, leaf) == ("glance", "0", "kernel")
            assert narrow.shape == (3, 3, wide.shape[2] // 2, wide.shape[3])
            changed.add(module[1])
    blocks = set(gfm.DECODERS[backbone])
    if backbone == "resnet34_2b":  # whose last two blocks do not get the pyramid in the release
        blocks -= {0}
    assert changed == {f"decoder{k}_g" for k in blocks}


@pytest.mark.slow
def test_summed_pyramid_is_added_to_each_stage():
    """Equals the concatenating decoder whose kernels weight both inputs alike."""
    deepest = np.random.default_rng(0).random((1, 2, 2, 512), np.float32)
    block = partial(gfm.ConvBlock, norm=partial(BatchNorm, use_running_average=True))
    summing, concatenating = (
        gfm.Glance("resnet34", {"g": 3}, block, pyramid=pyramid) for pyramid in gfm.PYRAMIDS[::-1]
    )
    variables = jax.jit(summing.init)(jax.random.key(0), deepest)
    params = dict(variables["params"])
    for k in range(5):
        name = f"decoder{k}_g"
        kernel = params[name]["0"]["kernel"]
        first = params[name]["0"] | {"kernel": np.concatenate([kernel, kernel], 2)}
        params[name] = params[name] | {"0": first}
    ours = jax.jit(summing.apply)(variables, deepest)["g"]
    theirs = jax.jit(concatenating.apply)({**variables, "params": params}, deepest)["g"]
    assert np.std(theirs) > 1e-4
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("rosta", gfm.ROSTAS)
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_logits_of_the_glance_are_returned_in_training_only(rosta, dtype):
    model = mj.create_model("gfm", rosta=rosta, dtype=dtype)
    image = jnp.zeros((2, 64, 64, 3))

    def outputs(train):
        def run(variables):
            return model.apply(variables, image, train=train, mutable=["batch_stats"])[0]

        return jax.eval_shape(run, shapes_of(model))

    usual, training = outputs(False), outputs(True)
    heads = {name for name in usual if name.startswith("glance")}
    assert len(heads) == (3 if rosta == "rim" else 1)
    logits = {name: name.replace("glance", "glance_logits") for name in heads}
    assert training.keys() - usual.keys() == set(logits.values())
    for head, name in logits.items():
        assert training[name] == usual[head] and usual[head].dtype == jnp.float32
