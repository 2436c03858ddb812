"""TensorFlow, kept off the accelerator that JAX uses."""

import contextlib


def tensorflow():
    """Imports TensorFlow without its GPUs, on which it would take all memory."""
    import tensorflow as tf

    # A program that started TensorFlow on a GPU before us has chosen so.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf
