"""launch.py with the tiny networks in addition to those of the library."""

import sys

from matting_jax.commandline import launch
from tests.tiny import register_tiny

if __name__ == "__main__":
    register_tiny()
    launch(sys.argv, __doc__)
