"""Decoded images on disk."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from matting_jax.data.decoded import DiskDict, DiskImages
from matting_jax.data.sources import Lazy


def image(number, height=20):
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (height, 30, 4), np.uint8)


def test_what_does_not_fit_is_decoded_again(tmp_path):
    """The limit holds for all dictionaries of a file together."""
    decoded, disk = [], DiskImages(tmp_path, 5 * image(0).nbytes)

    def read(number):
        decoded.append(number)
        return image(number)

    parts = [Lazy(range(4), read, DiskDict(disk)) for _ in range(2)]
    for _ in range(3):
        for part in parts:
            for number in range(4):
                np.testing.assert_array_equal(part[number], image(number))
    # All four of the first part and one of the second are kept.
    assert decoded == [0, 1, 2, 3, 0, 1, 2, 3] + 2 * [1, 2, 3]
    assert disk.used == disk.limit


def test_a_full_disk_keeps_nothing(tmp_path, monkeypatch):
    disk = DiskImages(tmp_path, 1e9)
    monkeypatch.setattr("matting_jax.data.decoded.FREE", float("inf"))
    kept = DiskDict(disk)
    kept[0] = image(0)
    assert kept.get(0) is None and disk.used == 0


def test_threads_read_what_others_write(tmp_path):
    """Views of one array and arrays of several sizes; each is written and read at its own place."""
    kept = DiskDict(DiskImages(tmp_path, 1e9))

    def pair(number):
        whole = image(number, 10 + number)
        return whole[..., :3], whole[..., 3]

    images = Lazy(range(40), pair, kept)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(images.__getitem__, [*range(40)] * 3))
    for number, arrays in zip([*range(40)] * 3, found, strict=True):
        for ours, expected in zip(arrays, pair(number), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_the_file_has_no_name(tmp_path):
    """So it is gone even after a kill."""
    kept = DiskDict(DiskImages(tmp_path, 1e9))
    kept[0] = image(0)
    assert not list(tmp_path.iterdir())
