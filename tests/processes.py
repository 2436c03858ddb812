"""Starts launch.py in other processes: alone, on eight devices, or as processes of a job."""

import os
import socket
import subprocess
import sys

from tests import flags
from tests.helpers import ROOT

EIGHT = {"XLA_FLAGS": flags.devices(8)}


def start(arguments, **variables):
    """Starts launch.py with the tiny networks, by default on one device."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.launch_tiny", *map(str, arguments)],
        env=os.environ | {"XLA_FLAGS": flags.devices(1), "JAX_PLATFORMS": "cpu"} | variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job_of_two():
    """Returns the environment of each of two processes of a job."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [{**job, "JAX_PROCESS_ID": str(i)} for i in range(2)]
