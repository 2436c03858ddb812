"""Command lines that tests parse."""

from matting_jax.commandline import parse
from tests.helpers import MODNET

BASE = f"--config={MODNET}"


def parsed(*arguments):
    return parse(["launch.py", *arguments])
