"""Shared fixtures: small data, a small network, and one finished run."""

import math
import os
import time

from tests import flags

# No limit: programs of tests with one and without one would disturb each other in one folder.
os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = "-1"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags.QUICK}".strip()

import jax
import pytest

from matting_jax.models import NETWORKS
from matting_jax.training.train import train
from tests.goldens import synth
from tests.helpers import GOLDENS, draw_images, use_folders
from tests.plates import write_builder
from tests.tiny import TINY, register_tiny, tiny_config

STARTED = time.monotonic()


def pytest_addoption(parser):
    text = "skip the tests that have not started after so many minutes"
    parser.addoption("--minutes", type=float, default=math.inf, help=text)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    minutes = item.config.getoption("minutes")
    if time.monotonic() > STARTED + 60 * minutes:
        pytest.skip(f"not started after {minutes:g} minutes")


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """A folder of compiled programs, so that equal programs of two runs are compiled once.

    JAX_COMPILATION_CACHE_DIR keeps it for the next test run.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or tmp_path_factory.mktemp("xla")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


@pytest.fixture(scope="module", autouse=True)
def freed_after_each_file():
    """Frees what XLA compiled for a file, which adds up to gigabytes over all files."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def tiny():
    register_tiny()
    yield "tiny"
    for name in TINY:
        del NETWORKS[name]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def config(folders, compiled_once):
    """A config of the tiny network on the small folders; a test may change it."""
    return use_folders(tiny_config(), folders, compiled_once)


@pytest.fixture(scope="session")
def finished(folders, compiled_once, tiny, tmp_path_factory):
    """(workdir, config, last state on the host) of a run of four steps, saved after each."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    config = use_folders(tiny_config(), folders, compiled_once)
    state = jax.device_get(train(config, workdir))
    return workdir, config, state


@pytest.fixture(scope="session")
def plates(tmp_path_factory):
    """(folder of builders, folder of prepared data) of the data set tiny_plates."""
    folder = tmp_path_factory.mktemp("builders")
    write_builder(folder)
    return folder, tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="session")
def official():
    """{official name: array} of a whole MODNet, random from a seed."""
    return synth.state_dict(str(GOLDENS / "modnet.json"), 1)
