"""Task of the toy network: the alpha of composites."""

import jax.numpy as jnp

from matting_jax.image.composite import composite
from matting_jax.losses import l2
from matting_jax.tasks.task import Task


def synthesize(keys, batch, config):
    """Composes images [B, H, W, 3] and returns them with their alpha [B, H, W, 1]."""
    arrays = {name: x.astype(jnp.float32) / 255 for name, x in batch.items() if name != "index"}
    image = composite(arrays["foreground"], arrays["alpha"], arrays["background"])
    return {"image": image}, {"alpha": arrays["alpha"]}


def loss(outputs, inputs, truth, config, axis_name=None):
    """Returns the weighted mean squared error of alpha."""
    error = config.task.weight * l2(outputs["alpha"], truth["alpha"], axis_name)
    return error, {"error": error}


TASK = Task(synthesize=synthesize, loss=loss)
