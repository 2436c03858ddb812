"""Measures the host's part of training: reading and cropping 1920 x 1080 images.

    python -m matting_jax.benchmark.data [--rules ...] [--kinds ...] [--samples N]
        [--keep memory|disk] [--rate]

For each rule of cropping and each kind of file: the CPU time of one sample in ms, in one thread,
the minimum of several repetitions. `--keep` measures sources that keep decoded images, from the
second epoch on. `--rate` also measures samples a second of the whole pipeline with 1 and 2 workers,
and how long a sample holds Python's lock, from which the rate of 16 workers on 16 cores follows;
these need a machine that is not busy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from scipy import ndimage

from matting_jax.config import defaults
from matting_jax.data import train_batches
from matting_jax.data.training import train_source

HEIGHT, WIDTH, IMAGES = 1080, 1920, 4
AFFINE = dict(rotation=30, shear=10, scale=(0.8, 1.25), flip=0.5, square=0.25, square_size=640)
RULES = {
    "rescale": dict(size=512, rescale=(384, 768)),
    "windows": dict(size=320, windows=(320, 480, 640), around="unknown"),
    "corners": dict(size=320, corners=(640, 960, 1280), around="unknown"),
    "affine": dict(size=512, affine=AFFINE, around="unknown"),
    "scales": dict(size=512, width=1024, scales=(0.375, 1.0)),
}
KINDS = ("png", "jpg")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--keep", choices=("memory", "disk"))
    parser.add_argument("--rate", action="store_true")
    flags = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        write_images(Path(temporary))
        print("rule      files   ms a sample" + RATES * flags.rate, flush=True)
        for rule in flags.rules:
            for kind in flags.kinds:
                config = config_of(Path(temporary), rule, kind, flags.keep)
                print(f"{rule:10}{kind:6}", end="", flush=True)
                print(row(config, rule == "scales", flags), flush=True)


RATES = "   samples a second: 1 worker, 2 workers   ms under the lock   16 workers, predicted"


def row(config: ConfigDict, labelled: bool, flags: argparse.Namespace) -> str:
    """Returns the columns of one rule and kind of files."""
    source = train_source(config, labelled=labelled)

    def read(numbers: Iterable[int]) -> None:
        for number in numbers:
            rng = np.random.default_rng([0, number])
            source.sample(number % len(source), rng, config.data.crop)

    read(range(2 * len(source)))
    seconds = [cpu_time(read, range(flags.samples)) for _ in range(flags.repetitions)]
    each = min(seconds) / flags.samples
    columns = f"{1000 * each:14.1f}"
    if flags.rate:
        rate(source, config, 1, config.batch_size)  # imports TensorFlow
        rates = [rate(source, config, workers, flags.samples) for workers in (1, 2)]
        locked = lock_time(read, flags.samples)
        predicted = min(16 / each, 1 / locked if locked else np.inf)
        columns += f"{rates[0]:20.1f}{rates[1]:10.1f}{1000 * locked:20.1f}{predicted:20.0f}"
    return columns


def cpu_time(function: Callable, *arguments) -> float:
    """Returns the CPU seconds of a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def rate(source, config: ConfigDict, workers: int, samples: int) -> float:
    """Returns how many samples a second the pipeline makes."""
    config.data.workers = workers
    start = time.perf_counter()
    for _ in train_batches(source, config, 0, samples // config.batch_size):
        pass
    return samples / (time.perf_counter() - start)


def lock_time(read: Callable, samples: int) -> float:
    """Returns the seconds that a sample holds Python's lock.

    A second thread wants the lock all the time, and has it the rest of the time; how much of that
    it can use on a busy machine is measured beside a thread that never holds the lock.
    """
    data, count = bytes(2**22), 200 * samples

    def checksums(numbers: Iterable[int]) -> None:
        for _ in numbers:
            zlib.crc32(data)

    _, free = spin_while(checksums, count)
    seconds, spun = spin_while(read, samples)
    return max(seconds * (1 - spun / free), 0) / samples


def spin_while(function: Callable, count: int) -> tuple[float, float]:
    """Returns the wall seconds of function(range(count)), and the fraction a busy thread ran."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=function, args=(range(count),))
    start, busy = time.perf_counter(), time.thread_time()
    thread.start()
    while thread.is_alive():
        pass
    seconds = time.perf_counter() - start
    sys.setswitchinterval(interval)
    return seconds, (time.thread_time() - busy) / seconds


def config_of(folder: Path, rule: str, kind: str, keep: str | None) -> ConfigDict:
    """Returns a config that trains on the files of one kind."""
    config = defaults()
    config.batch_size = 4
    config.data.cache = str(folder / "cache")
    config.data.keep_decoded = keep == "memory"
    config.data.keep_on_disk = 1.0 if keep == "disk" else 0.0
    config.data.foreground_colours = "as_is"
    config.data.crop.update(RULES[rule])
    if rule == "scales":
        config.model = ConfigDict(dict(num_classes=19))
        config.data.train.images = str(folder / kind / "photos")
    else:
        config.data.train.foregrounds = str(folder / kind / "foregrounds")
        config.data.train.backgrounds = str(folder / kind / "backgrounds")
        if rule == "affine":
            config.data.train.combine = 0.5
    return config


def write_images(folder: Path) -> None:
    """Writes foregrounds, backgrounds and photos with labels, in each kind of files."""
    for kind in KINDS:
        for place in ("foregrounds/image", "foregrounds/alpha", "backgrounds", "photos/image"):
            (folder / kind / place).mkdir(parents=True)
        (folder / kind / "photos" / "label").mkdir()
    for number in range(IMAGES):
        rng = np.random.default_rng(number)
        subject, background, alpha = photograph(rng), photograph(rng), matte(rng)
        label = Image.fromarray(rng.integers(0, 19, (9, 16), np.uint8))
        label = label.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
        for kind in KINDS:
            name = f"{number}.{kind}"
            options = dict(quality=92) if kind == "jpg" else dict(compress_level=6)
            foregrounds = folder / kind / "foregrounds"
            Image.fromarray(subject).save(foregrounds / "image" / name, **options)
            Image.fromarray(alpha).save(foregrounds / "alpha" / f"{number}.png")
            Image.fromarray(background).save(folder / kind / "backgrounds" / name, **options)
            Image.fromarray(background).save(folder / kind / "photos" / "image" / name, **options)
            label.save(folder / kind / "photos" / "label" / f"{number}.png")


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Draws a photo uint8 [H, W, 3]: shapes of several scales, with the noise of a sensor."""
    total = np.full((HEIGHT, WIDTH, 3), 110.0)
    for scale, contrast in ((6, 40), (24, 25), (96, 12)):
        coarse = rng.normal(0, contrast, (9 * scale // 6 + 1, 16 * scale // 6 + 1, 3))
        zoom = (HEIGHT / coarse.shape[0], WIDTH / coarse.shape[1], 1)
        total += ndimage.zoom(coarse, zoom, order=1)[:HEIGHT, :WIDTH]
    total += rng.normal(0, 3, total.shape)
    return np.rint(total).clip(0, 255).astype(np.uint8)


def matte(rng: np.random.Generator) -> np.ndarray:
    """Draws an alpha uint8 [H, W]: a body with a soft, frayed edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.arctan2(y - HEIGHT / 2, x - WIDTH / 2)
    reach = 0.35 * HEIGHT * (1 + 0.1 * np.sin(int(rng.integers(20, 60)) * angle))
    edge = (reach - np.hypot(y - HEIGHT / 2, x - WIDTH / 2)) / 30 + 0.5
    return np.rint(255 * edge.clip(0, 1)).astype(np.uint8)


if __name__ == "__main__":
    main(sys.argv[1:])
