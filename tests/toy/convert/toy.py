"""Names of the toy network in its checkpoints."""

from matting_jax.convert.names import Names, dotted


def names_of(model):
    return Names(lambda path: [dotted(path)], prefix="net.")
