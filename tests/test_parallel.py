"""Devices and processes. As a program, this file compares one device with eight."""

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from matting_jax import losses, parallel
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.models.layers.refinement import Refiner
from matting_jax.tasks import find_task
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, initial_variables, training_model
from matting_jax.training.step import train_step
from matting_jax.training.train import train
from tests.helpers import ROOT, train_on_one_and_eight, use_folders
from tests.processes import EIGHT
from tests.tiny import register_tiny, tiny_config, tiny_soc_config, tiny_trimap_config

STEPS = 3


def test_memory_is_released_between_compilation_and_run(monkeypatch):
    events = []

    def step(state, batch):
        events.append("traced")
        jax.debug.callback(lambda: events.append("run"), ordered=False)
        return state + batch.sum(), batch

    monkeypatch.setattr(
        parallel.allocator, "release_freed_memory", lambda: events.append("released")
    )
    state = jax.numpy.zeros(())
    shapes = jax.eval_shape(lambda: (state, jax.numpy.ones(3)))
    call = parallel.compile_for(jax.jit(step, donate_argnums=0), *shapes)
    assert events == ["traced", "released"]
    for _ in range(2):
        state, _ = call(state, jax.numpy.ones(3))
    jax.effects_barrier()
    assert float(state) == 6
    assert events == ["traced", "released", "run", "run"]


@pytest.mark.parametrize(
    "count, joins",
    [
        ({}, 0),
        ({"SLURM_NTASKS": "2"}, 0),
        ({"SLURM_STEP_NUM_TASKS": "1"}, 0),
        ({"SLURM_STEP_NUM_TASKS": "2"}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 1),
        ({"JOB_COMPLETION_INDEX": "0"}, 1),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, 0),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, 1),
    ],
)
def test_processes_join_if_a_launcher_started_several(monkeypatch, count, joins):
    """A shell in a Slurm allocation has SLURM_NTASKS, but it is not a step of several tasks."""
    for name in (
        "SLURM_STEP_NUM_TASKS",
        "OMPI_COMM_WORLD_SIZE",
        "JAX_COORDINATOR_ADDRESS",
        "JOB_COMPLETION_INDEX",
        "TPU_WORKER_HOSTNAMES",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in count.items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr(parallel, "detected_job", lambda: (None, None, None))
    monkeypatch.setattr(jax.distributed, "initialize", lambda **job: calls.append(job))
    parallel.start()
    assert len(calls) == joins


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "JAX_NUM_PROCESSES must be a number of processes, got ''"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES must be .* got 'two'"),
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID must be .* got ''"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID must be .* '-1'"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, "must be from 0 to 1, .* got 2"),
    ],
)
def test_variables_that_describe_no_job_are_refused(monkeypatch, variables, words):
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"JAX_COORDINATOR_ADDRESS": "localhost:1", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.distributed, "initialize", None)
    with pytest.raises(ValueError, match=words):
        parallel.start()


def test_batch_and_state_are_unchanged_on_the_mesh():
    mesh = parallel.device_mesh(4)
    batch = {"index": np.arange(4, dtype=np.int32), "alpha": np.ones((4, 2, 2, 1), np.uint8)}
    for name, array in parallel.split(batch, mesh).items():
        np.testing.assert_array_equal(array, batch[name])
        assert array.dtype == batch[name].dtype
    state = {"a": np.arange(3.0, dtype=np.float32)}
    np.testing.assert_array_equal(parallel.replicate(state, mesh)["a"], state["a"])


def test_one_device_computes_without_collectives():
    mesh = parallel.device_mesh(1)

    def step(state, batch):
        def loss(state):
            return losses.mean(parallel.to_varying(state) * batch, parallel.AXIS)

        return jax.grad(loss)(state), {"sum": losses.total(batch, parallel.AXIS)}

    lowered = parallel.pmap(step, mesh).lower(2.0, np.arange(6.0, dtype=np.float32))
    assert "all_reduce" not in lowered.as_text()
    gradient, results = lowered.compile()(np.float32(2), np.arange(6.0, dtype=np.float32))
    assert (gradient, results["sum"]) == (2.5, 15)

    # Arrays that are divided over the device have to be reduced, or they would not be equal on all.
    divided = jax.shard_map(
        lambda x: losses.mean(x, parallel.AXIS),
        mesh=mesh,
        in_specs=PartitionSpec(parallel.AXIS),
        out_specs=PartitionSpec(),
    )
    assert jax.jit(divided)(np.arange(6.0, dtype=np.float32)) == 2.5


def test_rematerialised_values_are_not_kept():
    """A step keeps all eight of its maps; with two rematerialised at a time, half of them."""
    mesh = parallel.device_mesh(1)

    def memory(part):
        def step(state, batch):
            def loss(state):
                x = batch * state
                for _ in range(4):
                    x = part(x)
                return jax.lax.psum(x.sum(), parallel.AXIS)

            return jax.grad(loss)(state), {}

        mapped = parallel.pmap(step, mesh)
        return mapped.lower(1.0, np.ones((1, 1 << 16))).compile().memory_analysis()

    def part(x):
        for shift in (1, 2):
            x = jax.numpy.sort(jax.numpy.sin(x * jax.numpy.roll(x, shift)))
        return x

    kept, again = (memory(x).temp_size_in_bytes for x in (part, jax.checkpoint(part)))
    assert again < 0.7 * kept


def compare(name, micro_batches, folder):
    """Compares one device with eight: training, and statistics that are not synchronised."""
    register_tiny()
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_enable_x64", True)
    assert jax.device_count() == 8

    config = use_folders(tiny_config(), Path(folder), "")
    config.name = name
    task = find_task(config.task.name)
    config.model = {"context": "se"} if name == "modnet" else {}
    config.batch_size, config.accumulate = 16, int(micro_batches)
    config.optimizer.module_rates.lr_branch = 1.0
    model = training_model(config)
    initial = jax.tree.map(np.float64, jax.device_get(initial_variables(config, model)))
    rng = np.random.default_rng(0)
    batch = {
        kind: rng.integers(0, 256, (16, 32, 32, channels), np.uint8)
        for kind, channels in (("foreground", 3), ("alpha", 1), ("background", 3))
    }
    batch["index"] = np.arange(16, dtype=np.int32) + 160
    one = train_on_one_and_eight(config, model, initial, batch)
    for part, params in one["state"]["params"].items():
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, initial["params"][part])
        assert max(jax.tree.leaves(moved)) > 1e-5, part

    assert [parallel.device_mesh(size).size for size in (16, 12, 9)] == [8, 4, 1]

    if name == "tiny" and config.accumulate == 1:
        compare_adaptation(batch)
        compare_trimaps(folder, batch)
        compare_refiners()
        mesh = parallel.device_mesh(8)
        optimizer = create_optimizer(config, initial["params"])
        config.synchronise_statistics = False
        unsynchronised = training_model(config)
        step = parallel.pmap(train_step(config, unsynchronised, task, optimizer, 4), mesh)
        state = parallel.replicate(initial_state(config, initial, optimizer, task), mesh)
        state, _ = step(state, parallel.split(batch, mesh))
        for statistic in jax.tree.leaves(state["batch_stats"]):
            copies = [np.asarray(shard.data) for shard in statistic.addressable_shards]
            assert len(copies) == 8 and all(np.array_equal(copies[0], copy) for copy in copies)
        # The mean variance of eight small batches is less than the variance of all samples.
        own = jax.device_get(state["batch_stats"])["backbone"]["stem"]["norm"]["var"]
        state = parallel.replicate(initial_state(config, initial, optimizer, task), mesh)
        config.synchronise_statistics = True
        step = parallel.pmap(train_step(config, model, task, optimizer, 4), mesh)
        state, _ = step(state, parallel.split(batch, mesh))
        shared = jax.device_get(state["batch_stats"])["backbone"]["stem"]["norm"]["var"]
        assert not np.allclose(own, shared, rtol=1e-6)


def compare_adaptation(batch):
    """Compares SOC on one device and on eight, which all renew the frozen copy."""
    config = tiny_soc_config()
    config.batch_size = 16
    model = training_model(config)
    initial = jax.jit(model.init)(jax.random.key(7), np.zeros((1, 32, 32, 3)))
    initial = jax.tree.map(np.float64, jax.device_get(initial))
    photos = {"image": batch["foreground"], "index": batch["index"]}
    one = train_on_one_and_eight(config, model, initial, photos)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(one["state"]["memory"]["params"]),
            jax.tree.leaves(initial["params"]),
            strict=True,
        )
    ]
    assert any(changed)


def compare_trimaps(folder, batch):
    """Compares a trimap network, whose spectral vectors must stay equal on all devices."""
    config = tiny_trimap_config(Path(folder), "")
    config.batch_size = 16
    model = training_model(config)
    initial = jax.tree.map(np.float64, jax.device_get(initial_variables(config, model)))
    one = train_on_one_and_eight(config, model, initial, batch)
    np.testing.assert_array_equal(one["state"]["counter"]["count"], [STEPS])
    vectors = one["state"]["spectral"]["backbone"]
    for vector, first in zip(
        vectors.values(), initial["spectral"]["backbone"].values(), strict=True
    ):
        assert np.linalg.norm(vector) == pytest.approx(1) and not np.allclose(vector, first)


def compare_refiners():
    """Compares BackgroundMattingV2's refiner, which normalises over the patches of all devices.

    Some devices have no patch.
    """
    rng = np.random.default_rng(0)
    half, full = rng.random((16, 8, 8, 42)), rng.random((16, 8, 8, 6))
    valid = (rng.random(16) < 0.5).astype(np.float64)
    valid[:6] = 0
    norm = partial(BatchNorm, use_running_average=False)
    variables = Refiner(norm).init(jax.random.key(0), half, full, valid)

    def refine(variables, patches, axis_name=None):
        refiner = Refiner(partial(norm, axis_name=axis_name))
        return refiner.apply(variables, *patches, mutable=["batch_stats"])

    def on_devices(variables, patches):
        refined, updated = refine(variables, patches, parallel.AXIS)
        return updated, refined

    one, updated = jax.jit(refine)(variables, (half, full, valid))
    devices = jax.shard_map(
        on_devices,
        mesh=parallel.device_mesh(16),
        in_specs=(PartitionSpec(), PartitionSpec(parallel.AXIS)),
        out_specs=(PartitionSpec(), PartitionSpec(parallel.AXIS)),
    )
    theirs, eight = jax.jit(devices)(variables, (half, full, valid))
    np.testing.assert_allclose(one, eight, atol=1e-9)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-9), updated, theirs)
    only, _ = jax.jit(refine)(variables, (half[valid > 0], full[valid > 0], valid[valid > 0]))
    np.testing.assert_allclose(eight[valid > 0], only, atol=1e-9)


@pytest.mark.parametrize(
    "name, micro_batches",
    [
        ("tiny", 2),
        pytest.param("tiny", 1, marks=pytest.mark.slow),
        pytest.param("modnet", 1, marks=pytest.mark.slow),
    ],
)
def test_eight_devices_train_like_one(name, micro_batches, folders):
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_parallel", "devices", name, str(micro_batches), folders],
        env=os.environ | EIGHT | {"JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-4000:]


def process(folder, workdir):
    """Trains for a few steps, as one process of a job or as the only one."""
    parallel.start()
    register_tiny()
    config = use_folders(tiny_config(), Path(folder), "")
    config.batch_size, config.steps = 4, 3
    config.log_every = config.evaluate_every = config.save_every = 1
    train(config, Path(workdir))


@pytest.mark.slow
def test_two_processes_train_like_one(folders, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"

    def start(workdir, **variables):
        command = [sys.executable, "-m", "tests.test_parallel", "process", folders, workdir]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"} | variables
        return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE)

    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    started = [start(tmp_path / "two", JAX_PROCESS_ID=str(i), **job) for i in range(2)]
    started.append(start(tmp_path / "one"))
    for program in started:
        _, errors = program.communicate(timeout=300)
        assert program.returncode == 0, errors[-4000:]
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    )
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for ours, theirs in zip(one, two, strict=True):
        name = "loss" if "loss" in ours else "test_mad"
        assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


if __name__ == "__main__":
    {"devices": compare, "process": process}[sys.argv[1]](*sys.argv[2:])
