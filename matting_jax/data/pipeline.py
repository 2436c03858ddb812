"""Batches by index: those of a step depend only on the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.cpu import tensorflow
from matting_jax.data.crops import check_crop, sides
from matting_jax.data.sources import Source


def train_batches(
    source: Source,
    config: ConfigDict,
    first_step: int,
    last_step: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Returns an iterator over this process's slices of the global batches of some steps.

    Args:
        source: what samples are made from.
        config: the whole config.
        first_step: the first of the steps.
        last_step: the step after the last one.
        process_index: the number of this process.
        process_count: the number of processes, which share each batch.

    Returns:
        Batches: crops uint8 [b, height, width, channels] by the names of source.channels, and
        `index` int32 [b], the numbers of the samples in the run. b is config.batch_size /
        process_count.

    Raises:
        ValueError: a field of the config is not valid, or a file is damaged.
    """
    check_crop(config.data.crop)
    if config.batch_size % process_count:
        raise ValueError(
            f"config.batch_size={config.batch_size} cannot be shared evenly by "
            f"{process_count} processes"
        )
    tf = tensorflow()
    share = config.batch_size // process_count
    records, seed, crop = len(source), config.seed, config.data.crop
    failures = []

    def read(index: np.int64, record: np.int64) -> list[np.ndarray]:
        try:
            sample = source.sample(int(record), np.random.default_rng([seed, int(index)]), crop)
        except Exception as error:
            failures.append(error)
            raise
        return [sample[name] for name in source.channels]

    def load(number):
        index = number // share * config.batch_size + process_index * share + number % share
        record = tf.random.experimental.index_shuffle(
            index % records, seed=tf.stack([seed, index // records]), max_index=records - 1
        )
        arrays = tf.numpy_function(read, [index, record], [tf.uint8] * len(source.channels))
        sample = {"index": tf.cast(index, tf.int32)}
        for array, (name, channels) in zip(arrays, source.channels.items(), strict=True):
            sample[name] = tf.ensure_shape(array, (*sides(crop), channels))
        return sample

    dataset = (
        tf.data.Dataset.range(first_step * share, last_step * share)
        .map(load, num_parallel_calls=config.data.workers, deterministic=True)
        .batch(share, drop_remainder=True)
        .prefetch(2)
    )

    def batches() -> Iterator[dict[str, np.ndarray]]:
        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.OpError:
            # TensorFlow's message hides the reason in a formatted traceback.
            if failures:
                raise failures[0] from None
            raise

    return batches()
