"""The host's side of the input: files and data sets to uint8 batches."""

from matting_jax.data.images import read_alpha, read_exact_alpha, read_image, read_rgba
from matting_jax.data.pipeline import train_batches
from matting_jax.data.sources import Unlabelled, evaluation_pairs, train_source

__all__ = [
    "read_alpha", "read_exact_alpha", "read_image", "read_rgba", "evaluation_pairs",
    "train_batches", "train_source", "Unlabelled",
]  # fmt: skip
