"""TFDS: reading prepared data sets, and what `datasets/` builds with."""
