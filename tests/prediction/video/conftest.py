"""Runs of small networks that predict clips."""

import jax
import numpy as np
import pytest

from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.clips import TIMES, composites, moving_alpha, write_clip
from tests.tiny import tiny_config


@pytest.fixture(scope="session")
def run_of(compiled_once, tiny, tmp_path_factory):
    """A function that makes the flags of a network from its name and its variables."""

    def make(name, variables=None, **test_time):
        config = tiny_config()
        if name != "tiny":
            config.name, config.test_time = name, test_time
        config.compilation_cache = str(compiled_once)
        folder = tmp_path_factory.mktemp(name)
        if variables is None:
            variables = jax.device_get(initial_variables(config, training_model(config)))
        write_state_dict(folder / "w.safetensors", to_state_dict(name, variables))
        claim(folder / "run", config)
        return [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 'w.safetensors'}"]

    return make


@pytest.fixture(scope="session")
def tiny_run(run_of):
    return run_of("tiny")


@pytest.fixture(scope="session")
def subtraction_run(run_of):
    """The network whose alpha is the difference from the background."""
    return run_of("tiny_background", {"params": {"gain": np.ones(1, np.float32)}})


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A clip with uneven times and sound."""
    folder = tmp_path_factory.mktemp("clip")
    frames = composites(moving_alpha())
    return write_clip(folder / "in.mp4", frames, times=TIMES, matrix="ITU709", sound="aac")
