"""One program per device: the mesh, the mapped step, and jobs of several processes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "batch"

# XLA for CPU would take away the barriers of `jax.checkpoint`, and then keep what it was to compute
# again.
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}

# The number of processes that Slurm's srun and Open MPI's mpirun started.
PROCESS_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def start() -> None:
    """Join the other processes of the job; without a cluster it does nothing.

    By hand JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say who they are; Slurm,
    Open MPI, Kubernetes' indexed jobs (with `jax[k8s]`) and TPU pods are recognised. Must be the
    first use of JAX.
    """
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        count, index = os.environ["JAX_NUM_PROCESSES"], os.environ["JAX_PROCESS_ID"]
        jax.distributed.initialize(num_processes=int(count), process_id=int(index))
        return
    several = any(int(os.environ.get(name, 1)) > 1 for name in PROCESS_COUNTS)
    pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    indexed_job = "JOB_COMPLETION_INDEX" in os.environ  # Kubernetes
    if several or pod or indexed_job:
        jax.distributed.initialize()


def first_process_first(function: Callable[[], Any]) -> Any:
    """`function()`, in the first process of the job before it runs in the others."""
    if jax.process_index():
        multihost_utils.sync_global_devices("first process")
    result = function()
    if jax.process_index() == 0:
        multihost_utils.sync_global_devices("first process")
    return result


def device_mesh(batch_size: int) -> Mesh:
    """The devices of the job in one axis named `batch`; of one process as many as divide a batch.

    Raises ValueError where the devices of several processes do not divide it.
    """
    devices = jax.devices()
    if jax.process_count() == 1:
        devices = devices[: math.gcd(batch_size, len(devices))]
    elif batch_size % len(devices):
        raise ValueError(
            f"batch_size {batch_size} must be a multiple of the {len(devices)} devices"
        )
    return jax.make_mesh((len(devices),), (AXIS,), devices=devices, axis_types=(AxisType.Auto,))


def pmap(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`step(state, batch) -> (state, results)` of one device, mapped over all of `mesh`.

    The state is the same on all devices and is donated; the batch is split by its first axis.
    Inside, collectives name the axis `batch`; what is returned must be the same on all devices.
    """
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=(P(), P()))
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return jax.jit(mapped, donate_argnums=0, compiler_options=KEEP_BARRIERS if is_cpu else None)


def sum_devices(tree: Any, axis_name: str | None) -> Any:
    """Sums each array of `tree` over the devices of `axis_name`; None returns `tree` itself."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def mean_devices(tree: Any, axis_name: str | None) -> Any:
    """Averages each array of `tree` over the devices of `axis_name`; None returns `tree` itself."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def varying(tree: Any) -> Any:
    """A replicated tree seen as each device's own, so that its gradient is summed over devices.

    Inside the differentiated function: layers with a custom gradient then need no axis.
    """
    return jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A tree of host arrays on all devices of `mesh`."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def placed(shapes: Any, mesh: Mesh) -> Any:
    """A tree of shapes with the placement that `replicate` gives arrays."""
    sharding = NamedSharding(mesh, P())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def split(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's part of a batch as its part of the global one, over the devices of `mesh`."""
    sharding = NamedSharding(mesh, P(AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, x) for name, x in batch.items()}
