"""How the programs of the tests are compiled: quickly, which makes them slower, and for devices.

JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment tests the programs that users run instead,
which takes longer.
"""

import os
from contextlib import contextmanager
from importlib.metadata import version

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # before the import of JAX

import jax

# With XLA's fusion emitters JAX 0.10 compiles MODNet's gradient in 20 CPU seconds instead of 8;
# newer versions have no such flag.
quick = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and version("jax").startswith("0.10.")
QUICK = "--xla_cpu_use_fusion_emitters=false" if quick else ""


def devices(number):
    """Returns XLA_FLAGS for a program with so many devices on the CPU."""
    return f"--xla_force_host_platform_device_count={number} {QUICK}"


@contextmanager
def optimised():
    """Compiles as for users: XLA emits convolutions of float64 as loops, which are slow without."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
