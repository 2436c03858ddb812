"""A toy network: alpha from the neighbourhood of each pixel."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from matting_jax.image.geometry import pad_to_multiple
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network, TrimapRule
from matting_jax.models.sides import check_sides


class Toy(nn.Module):
    """Predicts alpha [B, H, W, 1] by two convolutions from an image of even sides."""

    features: int = 4
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False

    @nn.compact
    def __call__(self, image, *, train=False):
        check_sides("toy", *image.shape[1:3], multiple=2)
        norm = batch_norm(self, train)
        x = nn.relu(norm(name="norm")(Conv(self.features, 3, dtype=self.dtype, name="conv")(image)))
        alpha = nn.sigmoid(Conv(1, 1, dtype=self.dtype, name="head")(x))
        return {"alpha": alpha.astype(image.dtype), "brightness": jnp.mean(image, -1)[..., None]}


def predict(apply, image, *, model, multiple=2):
    """Pads photos [N, H, W, 3] to even sides and crops alpha."""
    height, width = image.shape[1:3]
    return apply("alpha", image=pad_to_multiple(image, multiple))[:, :height, :width]


NETWORK = Network(
    module=Toy,
    predict=predict,
    trimap=TrimapRule(head="alpha", sure=0.6, margin=0.05, heads={"alpha": (0,)}),
)
