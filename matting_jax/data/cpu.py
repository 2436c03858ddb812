"""TensorFlow, kept off the accelerator that JAX uses."""

import contextlib
import os


def tensorflow():
    """Imports TensorFlow without its GPUs, on which it would take all memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or it announces itself
    import tensorflow as tf

    # A program that started TensorFlow on a GPU before us has chosen so.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf
