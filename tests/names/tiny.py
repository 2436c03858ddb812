"""Names in the checkpoints of the tiny networks, as in a file of matting_jax/convert."""

from matting_jax.convert.modnet import backbone_tensors
from matting_jax.convert.names import Backbone, Names, dotted


def names_of(model):
    return Names(
        lambda path: [dotted(path)],
        prefix="module.",
        backbone=Backbone(lambda path, state_dict: dotted(path), backbone_tensors),
    )
