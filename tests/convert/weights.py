"""Tensors to write, and the message with which a file is rejected."""

import numpy as np
import pytest

from matting_jax.convert.files import read_state_dict

TENSORS = {
    "module.a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7,
    "module.a.num_batches_tracked": np.zeros((), np.int64),
}


def rejection(path):
    """Returns the message with which `read_state_dict` rejects a file."""
    with pytest.raises(ValueError) as error:
        read_state_dict(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message
