"""The host's side of the input: from files and data sets to uint8 batches."""

from matting_jax.data.evaluation import evaluation_images, folder_images, shown_images
from matting_jax.data.files.images import read_alpha, read_image, read_rgba
from matting_jax.data.files.wide import read_exact_alpha
from matting_jax.data.pipeline import train_batches
from matting_jax.data.sources import EvaluationImage, Unlabelled, photo_files
from matting_jax.data.training import train_source

__all__ = [
    "EvaluationImage",
    "Unlabelled",
    "evaluation_images",
    "folder_images",
    "photo_files",
    "read_alpha",
    "read_exact_alpha",
    "read_image",
    "read_rgba",
    "shown_images",
    "train_batches",
    "train_source",
]
