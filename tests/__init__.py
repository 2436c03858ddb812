import os

# The goldens need all bits of float32; JAX_PLATFORMS=cuda runs the tests on an accelerator.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
