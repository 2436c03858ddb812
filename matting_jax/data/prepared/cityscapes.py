"""Cityscapes, as TFDS's builder `cityscapes` prepares it."""

from __future__ import annotations

from matting_jax.data.prepared.records import LabelFeatures

FEATURES = LabelFeatures(
    image="image_left",
    label="segmentation_label",
    # The label ids that are scored, in the order of the 19 classes.
    ids=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
)
