"""Measures the time of `--mode evaluate` for 100 pairs of 1920 x 1080, from files to page.

    python -m matting_jax.benchmark.evaluate [FOLDER]

Draws the pairs, their trimaps and photos into a temporary folder, then times two evaluations of all
five metrics: of the whole images, and with trimaps. FOLDER keeps the last results.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from matting_jax.data.files.folders import find_compared
from matting_jax.evaluation.measure import measure_files
from matting_jax.overlap import cores

HEIGHT, WIDTH = 1080, 1920
DRAWN, PAIRS = 10, 100


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folders = {x: Path(temporary, x) for x in ("predictions", "truths", "trimaps", "photos")}
        write_pairs(folders)
        print(f"{PAIRS} pairs of {WIDTH} x {HEIGHT}, {DRAWN} different, {cores()} cores")
        output = Path(arguments[0]) if arguments else Path(temporary, "output")
        time_evaluation("all five metrics", folders | {"trimaps": None}, output)
        time_evaluation("and those of the unknown region", folders, output)


def time_evaluation(what: str, folders: dict[str, Path | None], output: Path) -> None:
    """Prints the time of one evaluation."""
    start = time.perf_counter()
    found = find_compared(**folders)
    measure_files(found, output, what, "matlab")
    print(f"{what}: {time.perf_counter() - start:.1f} s")


def write_pairs(folders: dict[str, Path]) -> None:
    """Writes the files of all pairs; only DRAWN of them are different."""
    for folder in folders.values():
        folder.mkdir()
    for number in range(PAIRS):
        images = {}
        if number < DRAWN:
            images = draw(np.random.default_rng(number))
        for name, folder in folders.items():
            path = folder / f"{number:03d}.{'jpg' if name == 'photos' else 'png'}"
            if images:
                Image.fromarray(images[name]).save(path)
            else:
                path.write_bytes(path.with_stem(f"{number % DRAWN:03d}").read_bytes())


def draw(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a body with hair: truth, a plausible prediction, trimap and photo, all uint8."""
    matte = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(matte)
    pen.ellipse((600, 250, 1300, 1200), fill=255)
    for angle in rng.uniform(np.pi, 2 * np.pi, 3000):
        angles = angle + np.cumsum(rng.normal(0, 0.15, 10))
        steps = rng.uniform(8, 28) * np.stack([np.cos(angles), np.sin(angles)], -1)
        root = (950 + 340 * np.cos(angle), 725 + 460 * np.sin(angle))
        pen.line([tuple(x) for x in (root + np.cumsum(steps, 0)).tolist()], int(rng.integers(256)))
    truth = np.asarray(matte)
    truth = np.maximum(truth, np.rint(ndimage.gaussian_filter(truth.astype(np.float32), 3)))
    near = ndimage.maximum_filter((truth > 0) & (truth < 255), 25)

    coarse = Image.fromarray(rng.normal(0, 60, (HEIGHT // 30, WIDTH // 30)).astype(np.float32))
    noise = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    noise = noise + rng.normal(0, 4, truth.shape)
    prediction = ndimage.gaussian_filter(truth, 1.5) + np.where(near, noise, 0)
    texture = Image.fromarray(rng.integers(0, 256, (12, 20, 3), np.uint8))
    photo = np.asarray(texture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 2
    return {
        "predictions": np.rint(np.clip(prediction, 0, 255)).astype(np.uint8),
        "truths": truth.astype(np.uint8),
        "trimaps": np.where(near, 128, truth).astype(np.uint8),
        "photos": np.rint(photo + truth[..., None] / 2).astype(np.uint8),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
