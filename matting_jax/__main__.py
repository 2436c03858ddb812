"""Runs the command line: python -m matting_jax --config modnet."""

import sys

from matting_jax.commandline import command

if __name__ == "__main__":
    sys.exit(command())
