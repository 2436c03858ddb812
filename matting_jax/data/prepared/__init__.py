"""TFDS: reading prepared data sets, and what the builders in `datasets/` share."""
