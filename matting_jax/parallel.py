"""Data parallelism: the device mesh, the mapped step, and jobs of several processes."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from matting_jax import allocator, peers

AXIS = "batch"

# On CPU XLA would remove the barriers of `jax.checkpoint` and thereby undo rematerialisation.
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}

# The number of processes that Slurm's srun or Open MPI's mpirun started.
PROCESS_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def start(**options: Any) -> None:
    """Joins the other processes of the job, if there are any.

    Detects Slurm, Open MPI, Kubernetes' indexed jobs (with `jax[k8s]`) and TPU pods. Elsewhere set
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Must be the first use of JAX.
    `options` are more keywords of `jax.distributed.initialize`. Raises ValueError for variables
    that describe no job. If a process ends early or never comes, the others end too (`peers`).
    """
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        count, index = job_variable("JAX_NUM_PROCESSES"), job_variable("JAX_PROCESS_ID")
        if not 0 <= index < count:
            raise ValueError(
                f"JAX_PROCESS_ID must be from 0 to {count - 1}, since JAX_NUM_PROCESSES is "
                f"{count}, got {index}"
            )
        join(os.environ["JAX_COORDINATOR_ADDRESS"], count, index, options)
        return
    several = any(name in os.environ and job_variable(name) > 1 for name in PROCESS_COUNTS)
    pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    indexed_job = "JOB_COMPLETION_INDEX" in os.environ  # Kubernetes
    if several or pod or indexed_job:
        join(*detected_job(), options)


def detected_job() -> tuple[str | None, int | None, int | None]:
    """Returns the coordinator's address, the number of processes and this one's, as JAX does."""
    from jax._src.clusters import ClusterEnv

    unknown = (None, None, None, None, None)
    return ClusterEnv.auto_detect_unset_distributed_params(*unknown, int(peers.WAIT))[:3]


def join(address: str | None, count: int | None, index: int | None, options: dict) -> None:
    """Initialises JAX as process `index` of `count`, with a coordinator at `address`."""
    job = {"coordinator_address": address, "num_processes": count, "process_id": index}
    # With certificates JAX must reach the coordinator's machine itself.
    if None not in job.values() and count > 1 and "JAX_MTLS_CERT_FILE" not in os.environ:
        bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS")
        local = f"127.0.0.1:{peers.join(address, index, count, bind)}"
        job |= {"coordinator_address": local, "coordinator_bind_address": local}
    jax.distributed.initialize(**job, **options)
    if peers.current:
        # In place of the handler of JAX, which need not be told of a stop that is agreed here.
        signal.signal(signal.SIGTERM, lambda number, frame: peers.current.ask_to_stop())


def job_variable(name: str) -> int:
    """Returns a number that a job's environment holds; raises ValueError that names it if not."""
    value = os.environ.get(name, "")
    if not value.strip().isdecimal():
        raise ValueError(
            f"the environment variable {name} must be a number of processes, got {value!r}: each "
            "process of a job needs JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        )
    return int(value)


def first_process_first(function: Callable[[], Any]) -> Any:
    """Returns `function()`, called in the first process of the job before the others."""
    if jax.process_index():
        multihost_utils.sync_global_devices("first process")
    result = function()
    if jax.process_index() == 0:
        multihost_utils.sync_global_devices("first process")
    return result


def device_mesh(batch_size: int) -> Mesh:
    """Returns the devices of the job along one axis named `batch`.

    A single process uses the largest number of devices that divides the batch. Raises ValueError
    if the devices of several processes do not divide it.
    """
    devices = jax.devices()
    if jax.process_count() == 1:
        devices = devices[: math.gcd(batch_size, len(devices))]
    elif batch_size % len(devices):
        raise ValueError(
            f"batch_size must be a multiple of the {len(devices)} devices, got {batch_size}"
        )
    return jax.make_mesh((len(devices),), (AXIS,), devices=devices, axis_types=(AxisType.Auto,))


@cache
def local_mesh(batch_size: int) -> Mesh:
    """Returns devices of this process along one axis named `batch`, whose size they divide.

    These are all devices if they divide the batch, otherwise one for each sample if there are
    enough, otherwise a single one.
    """
    devices = jax.local_devices()
    count = len(devices) if batch_size % len(devices) == 0 else batch_size
    devices = devices[: count if count <= len(devices) else 1]
    return jax.make_mesh((len(devices),), (AXIS,), devices=devices, axis_types=(AxisType.Auto,))


def on_accelerator() -> bool:
    """Returns whether the devices of this process are accelerators."""
    return jax.local_devices()[0].platform != "cpu"


def pmap(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Maps the `step(state, batch) -> (state, results)` of one device over those of `mesh`.

    The state is replicated and donated; the batch is sharded along its first axis. Collectives use
    the axis name `batch`. State and results must be equal on all devices.
    """
    # What one device computes varies over no axis, and then needs no collectives.
    batch = P(AXIS) if mesh.size > 1 else P()
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), batch), out_specs=(P(), P()))
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return jax.jit(mapped, donate_argnums=0, compiler_options=KEEP_BARRIERS if is_cpu else None)


def compile_for(program: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Returns the jitted `program` compiled for arguments like these, arrays or shapes.

    The memory that compilation leaves is released: it may be as much as that of a training step.
    """
    compiled = program.lower(*arguments).compile()
    allocator.release_freed_memory()
    return compiled


def switch(index: jax.Array, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Returns `branches[index](*operands)` for a random choice within a mapped sample.

    On CPU, where samples are computed one after another, only that branch runs. On accelerators all
    run, as those of `lax.switch` do under `jax.vmap`, which JAX 0.11 and 0.12 cannot trace inside
    `jax.shard_map` if a branch holds a constant array.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.switch(index, branches, *operands)
    index = jnp.clip(index, 0, len(branches) - 1)
    results = [branch(*operands) for branch in branches]
    return jax.tree.map(lambda *x: jax.lax.select_n(index, *x), *results)


def sum_devices(tree: Any, axis_name: str | None) -> Any:
    """Sums each array of `tree` over the devices of `axis_name`; None returns `tree` itself."""
    return jax.lax.psum(tree, axis_name) if needs_reduction(tree, axis_name) else tree


def mean_devices(tree: Any, axis_name: str | None) -> Any:
    """Averages each array of `tree` over the devices of `axis_name`; None returns `tree` itself."""
    return jax.lax.pmean(tree, axis_name) if needs_reduction(tree, axis_name) else tree


def needs_reduction(tree: Any, axis_name: str | None) -> bool:
    """Returns whether reducing `tree` over the devices of `axis_name` changes value or type.

    XLA for CPU copies all that it reduces, also over a single device, whose arrays `pmap` does not
    mark as varying.
    """
    if axis_name is None:
        return False
    types = [jax.typeof(x).manual_axis_type for x in jax.tree.leaves(tree)]
    return jax.lax.axis_size(axis_name) > 1 or any(axis_name in kind.varying for kind in types)


def to_varying(tree: Any) -> Any:
    """Casts a replicated tree to varying over devices, so that its gradient is summed over them.

    Call it inside the differentiated function; layers with a custom gradient then need no axis.
    """
    if jax.lax.axis_size(AXIS) == 1:
        return tree
    return jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Copies a tree of host arrays to all devices of `mesh`."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def replicated_shapes(shapes: Any, mesh: Mesh) -> Any:
    """Returns a tree of shapes with the sharding that `replicate` gives arrays."""
    sharding = NamedSharding(mesh, P())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def split(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Shards a batch along its first axis over the devices of `mesh`.

    `batch` holds this process's samples, and the result those of all processes.
    """
    sharding = NamedSharding(mesh, P(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, x) for name, x in batch.items()}
