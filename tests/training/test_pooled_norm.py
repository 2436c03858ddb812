"""Networks that batch-normalise one value per photo need several photos in a micro-batch."""

import math
import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.models import create_model, example_inputs, network_of
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.training.state import training_model
from matting_jax.training.step import check_micro_batches, check_pooled_norm
from matting_jax.training.train import train
from tests.helpers import CONFIGS


@pytest.mark.parametrize(
    "name, keywords, pooled",
    [
        ("bgmv2", {"backbone": "mobilenet_v2", "refine": False}, True),
        ("bgmv2", {"backbone": "mobilenet_v2"}, True),
        ("bisenet_v2", {}, True),
        ("dim", {}, False),
        ("gca", {}, False),
        ("gfm", {}, False),
        ("gfm", {"backbone": "densenet121", "rosta": "rim"}, False),
        ("gfm", {"backbone": "resnet34_2b"}, False),
        ("modnet", {}, False),
        ("modnet", {"context": "easpp"}, False),
        ("modnet", {"context": "aspp"}, True),
        ("modnet", {"context": "none"}, False),
        ("pp_matting", {"backbone": "hrnet_w18"}, True),
        ("pp_matting", {"backbone": "hrnet_w18", "pyramid_pooling": False}, False),
    ],
)
def test_record_says_whether_a_network_normalises_one_value_per_photo(name, keywords, pooled):
    """Of a photo large enough for several values in all other maps."""
    model, sizes = create_model(name, **keywords), []

    def note_size(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm):
            sizes.append(args[0].shape[1:3])
        return call(*args, **kwargs)

    def init(key, inputs):
        with nn.intercept_methods(note_size):
            return model.init(key, **inputs)

    jax.eval_shape(init, jax.random.key(0), example_inputs(model, 512, 512))
    assert ((1, 1) in sizes) == pooled == network_of(model).pooled_norm(model)


def config_of(batch_size, accumulate=1, synchronise=True, freeze=False):
    config = load_config(CONFIGS / "pp_matting.py", "")
    config.batch_size, config.accumulate = batch_size, accumulate
    config.synchronise_statistics, config.freeze_statistics = synchronise, freeze
    return config


def mesh_of(config, devices):
    """The size of the mesh of one process with so many devices."""
    return SimpleNamespace(size=math.gcd(config.batch_size, devices))


CASES = [  # batch_size, accumulate, synchronise, freeze, devices; remedies, or None
    (1, 1, True, False, 1, ["--config.batch_size=2", "--config.freeze_statistics"]),
    (1, 1, True, False, 8, ["--config.batch_size=2", "--config.freeze_statistics"]),
    (1, 1, False, False, 1, ["--config.batch_size=2", "--config.freeze_statistics"]),
    (1, 1, False, False, 8, ["--config.batch_size=16", "--config.freeze_statistics"]),
    (4, 4, True, False, 1, ["--config.batch_size=8", "--config.freeze_statistics"]),
    (
        8,
        1,
        False,
        False,
        8,
        ["--config.synchronise_statistics", "--config.batch_size=16", "--config.freeze_statistics"],
    ),
    (
        8,
        4,
        False,
        False,
        2,
        ["--config.synchronise_statistics", "--config.batch_size=16", "--config.freeze_statistics"],
    ),
    (1, 1, True, True, 1, None),
    (2, 1, True, False, 1, None),
    (2, 1, True, False, 2, None),
    (8, 1, True, False, 8, None),
    (8, 4, True, False, 1, None),
    (8, 4, True, False, 2, None),
    (16, 1, False, False, 8, None),
    (8, 2, False, False, 2, None),
    (8, 1, False, True, 8, None),
]


@pytest.mark.parametrize("batch, parts, synchronise, freeze, devices, remedies", CASES)
def test_single_value_per_channel_raises_with_remedies(
    batch, parts, synchronise, freeze, devices, remedies, monkeypatch
):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    config = config_of(batch, parts, synchronise, freeze)
    model = training_model(config)
    mesh = mesh_of(config, devices)
    check_micro_batches(batch, mesh.size, parts)
    if remedies is None:
        check_pooled_norm(config, model, mesh)
        return
    with pytest.raises(ValueError) as error:
        check_pooled_norm(config, model, mesh)
    message = str(error.value)
    assert f"batch_size={batch} with accumulate={parts} makes 1" in message
    assert message.startswith("pp_matting normalises one value per photo")
    assert re.findall(r"--config\.[\w=.]+", message) == remedies
    # Each remedy alone makes the config valid.
    for remedy in remedies:
        field, _, value = remedy.removeprefix("--config.").partition("=")
        changed = config.copy_and_resolve_references()
        changed[field] = int(value) if value else True
        mesh = mesh_of(changed, devices)
        check_micro_batches(changed.batch_size, mesh.size, parts)
        check_pooled_norm(changed, training_model(changed), mesh)


@pytest.mark.parametrize(
    "name, keywords, refused",
    [
        ("bgmv2", {}, True),
        ("bisenet_v2", {}, True),
        ("pp_matting", {"pyramid_pooling": False}, False),
        ("modnet", {"context": "aspp"}, True),
        ("modnet", {}, False),
        ("gfm", {}, False),
        ("gca", {}, False),
        ("dim", {}, False),
    ],
)
def test_each_network_trains_with_one_photo_or_refuses(name, keywords, refused):
    config = load_config(CONFIGS / f"{name}.py", "")
    config.batch_size = 1
    model = create_model(name, **keywords)
    if not refused:
        check_pooled_norm(config, model, SimpleNamespace(size=1))
        return
    with pytest.raises(ValueError, match=f"{name} normalises .* --config.batch_size=2, or"):
        check_pooled_norm(config, model, SimpleNamespace(size=1))


def test_training_refuses_before_it_claims_the_workdir(tmp_path):
    with pytest.raises(ValueError, match="--config.freeze_statistics"):
        train(config_of(1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_running_variance_of_single_values_decays():
    """Why it is refused: one value per channel has the variance 0."""
    norm = BatchNorm(use_running_average=False)
    x = np.random.default_rng(0).standard_normal((1, 1, 1, 4)).astype(np.float32)
    variables = norm.init(jax.random.key(0), x)
    for _ in range(10):
        _, updated = norm.apply(variables, x, mutable=["batch_stats"])
        variables = {**variables, **updated}
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9**10, rtol=1e-5)
