"""The compositing equation."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np

from matting_jax.image.composite import composite


def test_composite_is_the_equation_in_numpy_and_jax():
    rng = np.random.default_rng(0)
    f, b, a = rng.random((4, 5, 3)), rng.random((4, 5, 3)), rng.random((4, 5, 1))
    on_host = composite(f, a, b)
    assert isinstance(on_host, np.ndarray)
    np.testing.assert_array_equal(on_host, a * f + (1 - a) * b)
    on_device = composite(*map(jnp.float32, (f, a, b)))
    np.testing.assert_allclose(on_device, on_host, atol=1e-6)


def test_host_modules_import_no_jax():
    """Also when foreground colours are estimated, as the processes that prepare data do."""
    program = """
import sys
import numpy as np
from matting_jax.image import align, composite, foreground
foreground.multilevel(np.zeros((8, 9, 3), np.uint8), np.full((8, 9), 128, np.uint8))
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
