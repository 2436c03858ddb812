"""Matting metrics of one image, in the units that papers print."""
from matting_jax.metrics.difference import mad, mse, sad

__all__ = ["mad", "mse", "sad"]
