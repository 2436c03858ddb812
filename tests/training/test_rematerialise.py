"""Rematerialised steps: the same state, in less memory."""

import jax
import numpy as np

from matting_jax import parallel
from matting_jax.tasks import find_task
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, initial_variables, training_model
from matting_jax.training.step import train_step


def test_a_rematerialised_step_gives_the_same_state_in_less_memory(config):
    config.batch_size, config.data.crop.size = 2, 64
    model, mesh = training_model(config), parallel.device_mesh(config.batch_size)
    variables = jax.tree.map(np.array, initial_variables(config, model))
    task = find_task(config.task.name)
    rng = np.random.default_rng(0)
    batch = {
        name: rng.integers(0, 256, (2, 64, 64, channels), np.uint8)
        for name, channels in (("foreground", 3), ("alpha", 1), ("background", 3))
    }
    batch["index"] = np.arange(2, dtype=np.int32)

    def run(rematerialise):
        config.rematerialise = rematerialise
        optimizer = create_optimizer(config, variables["params"])
        state = initial_state(config, variables, optimizer, task)
        step = parallel.pmap(train_step(config, model, task, optimizer, 2), mesh)
        compiled = step.lower(state, batch).compile()
        return compiled(state, batch), compiled.memory_analysis().temp_size_in_bytes

    (plain, _), kept = run(False)
    (again, _), recomputed = run(True)
    for name in ("params", "batch_stats", "opt_state"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), again[name], plain[name]
        )
    assert recomputed < 0.9 * kept
