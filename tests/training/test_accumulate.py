import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax import parallel
from matting_jax.tasks import find_task
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, initial_variables, training_model
from matting_jax.training.step import accumulate, check_micro_batches, train_step
from matting_jax.training.train import train
from tests.helpers import one_step


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_micro_batches_are_strided_and_run_in_sequence(parts):
    batch = {"x": jnp.arange(12.0).reshape(6, 2)}

    def function(carry, part):
        return carry * 3 + part["x"].sum(), {"mean": part["x"].mean(0), "carry": carry}

    carry, means = jax.jit(lambda batch: accumulate(function, jnp.zeros(()), batch, parts))(batch)
    expected, results = 0.0, []
    for first in range(parts):
        part = {"x": np.asarray(batch["x"])[first::parts]}
        expected, result = function(expected, part)
        results.append(result)
    assert carry == expected
    for name in means:
        np.testing.assert_allclose(means[name], np.mean([r[name] for r in results], 0))


def test_accumulated_gradients_equal_those_of_the_whole_batch(config):
    """Holds if statistics are frozen and losses are plain means."""
    config.freeze_statistics = True
    config.batch_size = 4
    config.optimizer.module_rates.lr_branch = 1.0
    first, whole, terms = one_step(config, steps=2)
    config.accumulate = 2
    _, parts, terms_of_parts = one_step(config, steps=2)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first["params"], whole["params"])
    assert min(jax.tree.leaves(moved)) > 1e-5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), parts, whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), terms_of_parts, terms)


@pytest.mark.slow
def test_statistics_are_updated_once_per_micro_batch(config, tmp_path):
    """As in the same number of steps of one micro-batch each, if the parameters do not change."""
    config.optimizer.learning_rate = 0.0
    config.evaluate_every = 0
    config.steps, config.batch_size = 2, 1
    steps = train(config, tmp_path / "steps")["batch_stats"]
    config.steps, config.batch_size, config.accumulate = 1, 2, 2
    parts = train(config, tmp_path / "parts")["batch_stats"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), parts, steps)


@pytest.mark.slow
def test_memory_falls_with_the_number_of_micro_batches(config):
    config.batch_size, config.data.crop.size = 8, 64

    def bytes_of_step(parts):
        config.accumulate = parts
        model, mesh = training_model(config), parallel.device_mesh(config.batch_size)
        variables = initial_variables(config, model)
        optimizer = create_optimizer(config, variables["params"])
        state = initial_state(config, variables, optimizer, find_task("modnet"))
        batch = {
            name: np.zeros((8, 64, 64, channels), np.uint8)
            for name, channels in (("foreground", 3), ("alpha", 1), ("background", 3))
        }
        batch["index"] = np.arange(8, dtype=np.int32)
        step = parallel.pmap(train_step(config, model, find_task("modnet"), optimizer, 4), mesh)
        return step.lower(state, batch).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of_step(8) < 0.3 * bytes_of_step(1)


@pytest.mark.parametrize("parts, divisor", [(3, 4), (8, 4), (0, 4), (-2, 4)])
def test_micro_batches_that_do_not_divide_the_samples_of_a_device_raise(parts, divisor):
    with pytest.raises(ValueError) as error:
        check_micro_batches(16, 4, parts)
    for words in (f"accumulate={parts} ", "4 samples", "batch_size=16", f"divisor of {divisor}"):
        assert words in str(error.value)
    check_micro_batches(16, 4, 2)
