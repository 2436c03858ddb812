"""What the toy network learns: the alpha of composites."""

import jax.numpy as jnp

from matting_jax.image.composite import composite
from matting_jax.losses import l2
from matting_jax.tasks.task import Task


def synthesize(keys, batch, config):
    """Composites [B, H, W, 3] and their alpha [B, H, W, 1]."""
    arrays = {name: x.astype(jnp.float32) / 255 for name, x in batch.items() if name != "index"}
    image = composite(arrays["foreground"], arrays["alpha"], arrays["background"])
    return {"image": image}, {"alpha": arrays["alpha"]}


def loss(outputs, inputs, truth, config, axis_name=None):
    """The weighted mean squared error of alpha."""
    error = config.task.weight * l2(outputs["alpha"], truth["alpha"], axis_name)
    return error, {"error": error}


TASK = Task(synthesize=synthesize, loss=loss)
