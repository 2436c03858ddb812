"""Names in the checkpoints of the tiny network that predicts given classes."""

from matting_jax.convert.names import Names, dotted


def names_of(model):
    return Names(lambda path: [dotted(path)], prefix="module.")
