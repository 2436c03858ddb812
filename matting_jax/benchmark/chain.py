"""Measures how well a network makes the trimaps of another; its trimap rule rests on it.

    python -m matting_jax.benchmark.chain FIRST SECOND
        [--heads NAME ...] [--sure ...] [--margin ...]

FIRST and SECOND are workdirs, of a network that makes trimaps and of one that takes them. For each
rule, on the test images of SECOND's config: the fraction of unknown pixels, the fraction of the
pixels with an alpha between 0 and 255 that are unknown, the fraction of pixels that are known and
wrong by more than a half, and the MAD of SECOND over whole images. `--directory` is where TFDS
keeps its data, if it is not where SECOND was trained.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np

import matting_jax as mj
from matting_jax.config import read_config
from matting_jax.data import EvaluationImage, evaluation_images
from matting_jax.prediction.load import load_matter
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.trimap_from import make_trimap, rule_of


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--heads", nargs="+", metavar="NAME")
    parser.add_argument("--sure", nargs="+", type=float, default=[0.8, 0.95])
    parser.add_argument("--margin", nargs="+", type=float, default=[0.0, 0.01, 0.02, 0.04])
    parser.add_argument("--directory")
    flags = parser.parse_args(arguments)
    config = read_config(Path(flags.second))
    config.data.directory = flags.directory or config.data.directory
    images = list(evaluation_images(config))
    second = load_matter(config, flags.second, trimap_from=flags.first)
    first = second.trimap_from

    if first.network.output == "alpha":
        errors = [mean_error(first(x.image), x) for x in images]
        print(f"alpha of {first.name} itself: MAD {np.mean(errors):.4f}")
    errors = [mean_error(second(x.image, trimap=x.trimap), x) for x in images]
    unknown = np.mean([np.mean(x.trimap == 128) for x in images])
    print(f"{second.name} with trimaps of the true alpha: MAD {np.mean(errors):.4f}, {unknown:.1%}")
    print("head       sure   margin   unknown   soft pixels in it   known and wrong   MAD")
    for head in flags.heads or [rule_of(first.name).head]:
        outputs = [first.output(x.image, head) for x in images]
        for sure, margin in product(flags.sure, flags.margin):
            rule = rule_of(first.name, {"head": head, "sure": sure, "margin": margin})
            made = [
                make_trimap(rule, output, *x.image.shape[:2])
                for output, x in zip(outputs, images, strict=True)
            ]
            rows = [row(second, *pair) for pair in zip(images, made, strict=True)]
            unknown, soft, wrong, error = np.nanmean(rows, axis=0)
            print(
                f"{head:10} {sure:<6g} {margin:<8g} {unknown:<9.1%} {soft:<19.1%} "
                f"{wrong:<17.1%} {error:.4f}",
                flush=True,
            )


def row(second: Matter, image: EvaluationImage, made: np.ndarray) -> list[float]:
    """Returns the four columns of one image and the trimap [H, W] that was made for it."""
    truth, unknown = image.alpha / 255, made == 0.5
    soft = (image.alpha > 0) & (image.alpha < 255)
    wrong = ~unknown & (np.abs(made - truth) > 0.5)
    error = mean_error(second(image.image, trimap=made), image)
    return [unknown.mean(), unknown[soft].mean() if soft.any() else np.nan, wrong.mean(), error]


def mean_error(alpha: np.ndarray, image: EvaluationImage) -> float:
    """Computes the MAD of an alpha [H, W] over the whole image."""
    return mj.metrics.mad(alpha, image.alpha / np.float32(255))


if __name__ == "__main__":
    main(sys.argv[1:])
