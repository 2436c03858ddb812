"""Matting metrics in the units of the papers.

Metrics of one image have the signature `metric(prediction, truth, trimap=None, *,
convention="matlab", fill=False)` and return a float:

prediction, truth  float arrays [H, W] in [0, 1]
trimap             float array [H, W] of 0, 0.5 (or 128/255) and 1: only unknown pixels are
                   measured; without a trimap all pixels are
convention         the published code to reproduce, see conventions.py; the default is that of the
                   Composition-1k benchmark, which most papers use
fill               set the prediction's known pixels to those of the trimap first

They raise ValueError for arrays of another shape or range, for NaN, for other values in a trimap,
and for a convention that is unknown, does not define the metric or needs other arguments.

The same metrics for batches inside `jax.jit` are in `matting_jax.metrics.device`.
"""

from matting_jax.metrics.connectivity import conn
from matting_jax.metrics.conventions import fill_known
from matting_jax.metrics.difference import mad, mse, sad, sad_split
from matting_jax.metrics.foreground import foreground_mad, foreground_mse, foreground_sad
from matting_jax.metrics.gradient import grad
from matting_jax.metrics.video import dtssd, messddt, ssda

__all__ = [
    "conn",
    "dtssd",
    "fill_known",
    "foreground_mad",
    "foreground_mse",
    "foreground_sad",
    "grad",
    "mad",
    "messddt",
    "mse",
    "sad",
    "sad_split",
    "ssda",
]
