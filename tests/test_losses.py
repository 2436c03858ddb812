"""The OHEM cross-entropy against the official code and a sort."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from matting_jax.losses import cross_entropy, kth_largest, ohem_cross_entropy
from tests import flags
from tests.helpers import GOLDENS


@pytest.mark.parametrize("case", ["hard", "easy"])
def test_ohem_cross_entropy_equals_official(case):
    """hard: all pixels above the threshold count; easy: these are too few, so the largest do."""
    golden = np.load(GOLDENS / "bisenet_v2_losses.npz")
    logits, labels = golden[f"{case}/logits"], golden["labels"]
    loss, gradient = jax.value_and_grad(ohem_cross_entropy)(logits, labels)
    assert float(loss) == pytest.approx(float(golden[f"{case}/ohem"]), rel=1e-5)
    expected = golden[f"{case}/grad"]
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())
    ignored = labels == 255
    mean = np.where(ignored, 0, cross_entropy(logits, labels)).mean()
    assert mean == pytest.approx(float(golden[f"{case}/ce_mean"]), rel=1e-5)


def by_sorting(losses, labelled, probability, least):
    """Computes the loss as the official code does."""
    losses = np.sort(np.where(labelled, losses, 0).ravel())[::-1]
    few = labelled.sum() // least
    hard = losses[losses > np.float32(-np.log(probability))]
    chosen = losses[:few] if len(hard) < few else hard
    return chosen.mean() if len(chosen) else 0.0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 3.0, 30.0]),
    steps=st.booleans(),
    shown=st.floats(0, 1),
    probability=st.floats(0.2, 0.9),
    least=st.integers(1, 20),
)
def test_ohem_cross_entropy_equals_sorting(seed, scale, steps, shown, probability, least):
    """With `steps` many losses are equal."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.standard_normal((2, 6, 7, 3))
    logits = np.float32(np.rint(logits) if steps else logits)
    labels = np.where(rng.random((2, 6, 7)) < shown, rng.integers(0, 3, (2, 6, 7)), 255)
    losses = np.asarray(cross_entropy(logits, labels))
    expected = by_sorting(losses, labels != 255, probability, least)
    loss = ohem_cross_entropy(logits, labels, probability, least)
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_unlabelled_images_give_zero_loss_and_gradient():
    logits = np.random.default_rng(0).random((1, 4, 4, 3), np.float32)
    labels = np.full((1, 4, 4), 255)
    loss, gradient = jax.value_and_grad(ohem_cross_entropy)(logits, labels)
    assert float(loss) == 0 and not np.asarray(gradient).any()


def test_label_that_is_not_a_class_gives_nan():
    logits = np.zeros((1, 4, 4, 3), np.float32)
    labels = np.zeros((1, 4, 4), int)
    labels[0, 1, 2] = 3
    assert np.isnan(ohem_cross_entropy(logits, labels))


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.floats(0, 2.0**126, width=32, allow_subnormal=False), min_size=1, max_size=30
    ),
    data=st.data(),
)
def test_kth_largest_is_exact(values, data):
    k = data.draw(st.integers(1, len(values)))
    values = np.array(values, np.float32)
    assert kth_largest(jnp.asarray(values), k) == np.sort(values)[-k]


def compare_devices():
    """Checks that the loss and gradient of eight devices equal those of one."""
    rng = np.random.default_rng(0)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    for scale in (0.1, 20.0):  # both sides of the threshold
        logits = np.float32(rng.standard_normal((8, 4, 6, 3)) * 3)
        labels = rng.choice([0, 1, 2, 255], (8, 4, 6))
        logits[..., 0] += np.where(labels == 0, scale, 0)
        logits[..., 1] += np.where(labels == 1, scale, 0)
        logits[..., 2] += np.where(labels == 2, scale, 0)
        # One device has no hard pixel, another no labelled one.
        logits[1, ..., 0], labels[1] = 50, 0
        labels[0] = 255

        def both(logits, labels):
            return jax.value_and_grad(ohem_cross_entropy)(logits, labels, axis_name="batch")

        split = P("batch")
        mapped = jax.shard_map(both, mesh=mesh, in_specs=(split, split), out_specs=(P(), split))
        ours, gradient = jax.jit(mapped)(logits, labels)
        expected, whole = jax.value_and_grad(ohem_cross_entropy)(logits, labels)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, whole, atol=1e-7)


def test_ohem_cross_entropy_on_eight_devices_equals_one(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", flags.devices(8))
    subprocess.run([sys.executable, "-m", "tests.test_losses"], check=True)


if __name__ == "__main__":
    compare_devices()
