"""One program per device: the mesh, the mapped step, and jobs of several processes."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "batch"

# Set to the number of processes by hand, by Slurm and by Open MPI.
PROCESS_COUNTS = ("JAX_NUM_PROCESSES", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")


def start() -> None:
    """Join the other processes of the job, where Slurm, Open MPI, Kubernetes or a TPU pod started
    several. Without a cluster it does nothing. Must be the first use of JAX."""
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


def device_mesh() -> Mesh:
    """All devices of the job in one axis named `batch`."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def pmap(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`step(state, batch) -> (state, results)` of one device, mapped over all of `mesh`.

    The state is the same on all devices and is donated; the batch is split by its first axis.
    Inside, collectives name the axis `batch`; what is returned must be the same on all devices.
    """
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=(P(), P()))
    return jax.jit(mapped, donate_argnums=0)


def varying(tree: Any) -> Any:
    """A replicated tree seen as each device's own, so that its gradient is summed over devices.

    Inside the differentiated function: layers with a custom gradient then need no axis.
    """
    return jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A tree of host arrays on all devices of `mesh`."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def split(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's part of a batch as its part of the global one, over the devices of `mesh`."""
    sharding = NamedSharding(mesh, P(AXIS))
    return {
        name: jax.make_array_from_process_local_data(sharding, x) for name, x in batch.items()
    }
