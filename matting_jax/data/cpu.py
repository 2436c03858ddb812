"""TensorFlow, kept off the accelerator that JAX uses."""

from __future__ import annotations

import contextlib
import os
from types import ModuleType


def tensorflow() -> ModuleType:
    """Imports TensorFlow without GPUs, whose memory it would otherwise reserve."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # otherwise it logs a notice
    import tensorflow as tf

    # Raised if TensorFlow has already started on a GPU, by the choice of the calling program.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf
