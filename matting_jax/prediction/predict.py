"""Writes the alpha and the cut-out of photos (--mode predict)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.data.files.images import Photo
from matting_jax.image.align import opencv
from matting_jax.image.foreground import METHODS
from matting_jax.models import find_network
from matting_jax.prediction.companions import ADVICE, find_companions
from matting_jax.prediction.existing import remaining_jobs
from matting_jax.prediction.inputs import multiply_opacity
from matting_jax.prediction.jobs import Job, plan_jobs
from matting_jax.prediction.labels import learns_classes, predict_labels
from matting_jax.prediction.load import list_inputs, load_matter
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.photos import find_photos
from matting_jax.prediction.record import shared_options
from matting_jax.prediction.run import Work, run_jobs
from matting_jax.prediction.shards import find_shard
from matting_jax.prediction.whole import common_sizes

FOREGROUNDS = ("network", *METHODS, "none")
BITS = {"8": np.uint8, "16": np.uint16}
# What follows the name of a photo in those of its results.
SUFFIXES = {"alpha": "_alpha", "cutout": "_cutout"}


@dataclass(frozen=True)
class Options:
    """Options of `predict`, named as the flags of the command line.

    Attributes:
        trimap: a file, or a folder of files with the photos' names.
        background: the same.
        align: align each background with its photo first.
        trimap_from: workdir of a network that makes the trimaps.
        trimap_rule: fields of that network's rule to replace.
        foreground: where the cut-out's foreground colours come from: "network", the default if it
            predicts them, a method that estimates them, or "none" for no cut-out.
        bits: 8 or 16, of the alpha; cut-outs are RGBA with 8.
        existing: what happens to photos that have results: "error" raises before anything is
            written, "keep" skips them, "overwrite" predicts them again.
        shard: "INDEX/COUNT", the share of the photos to predict.
        size_step: multiple to which both sides of a photo are padded, see `Matter`.
    """

    trimap: str | None = None
    background: str | None = None
    align: bool = False
    trimap_from: str | None = None
    trimap_rule: Mapping[str, Any] | None = None
    foreground: str | None = None
    bits: int = 8
    existing: str = "error"
    shard: str | None = None
    size_step: int = 0


DEFAULTS = Options()


def predict(
    config: ConfigDict,
    checkpoint: str | Path,
    photos: str,
    output: str,
    options: Options = DEFAULTS,
) -> int:
    """Writes NAME_alpha.png and NAME_cutout.png for each photo into the folder `output`.

    For a run that learns given classes it writes NAME.png, the class of each pixel. Photos that
    cannot be read or do not fit in memory are reported and skipped. predictions.jsonl gets a line
    for each photo.

    Args:
        config: names the network, its keywords and the options of its test-time rule.
        checkpoint: an official file or a workdir.
        photos: a file, a folder or a glob.
        output: the folder of the results, which keeps the subfolders of `photos`.
        options: what the command line's flags say.

    Returns:
        1 if photos were skipped, else 0.

    Raises:
        ValueError: if the arguments do not fit the network or one another.
        OSError: if a result exists, before anything is written, or cannot be written.
    """
    if learns_classes(config):
        check_label_options(config, options)
        return predict_labels(
            config, checkpoint, photos, Path(output), options.existing, find_shard(options.shard)
        )
    options = check_options(config, options)
    shard = find_shard(options.shard)
    jobs = find_jobs(config, photos, Path(output), options)
    made = list_options(config, options)
    jobs = remaining_jobs(jobs, Path(output), options.existing, shard, made)
    if not jobs:
        return 0
    matter = load_matter(
        config,
        checkpoint,
        trimap_from=options.trimap_from,
        trimap_rule=options.trimap_rule,
        size_step=options.size_step,
    )
    if sizes := common_sizes(job.photo for job in jobs):
        matter.resize_on_device(sizes)
    cut_out = options.foreground == "network"
    work = Work(
        partial(run_network, matter, options),
        partial(draw, options),
        partial(matter.list_programs, cut_out=cut_out),
        made,
    )
    return run_jobs(jobs, Path(output), work, config.data.colour_profile, options.align)


def check_label_options(config: ConfigDict, options: Options) -> None:
    """Raises ValueError for options that only alphas have."""
    flags = ("trimap", "background", "align", "trimap_from", "foreground", "bits", "size_step")
    refused = [f"--{x}" for x in flags if getattr(options, x) != getattr(DEFAULTS, x)]
    if refused:
        raise ValueError(
            f"{config.name} writes the class of each pixel, not an alpha: omit {', '.join(refused)}"
        )


def check_options(config: ConfigDict, options: Options) -> Options:
    """Returns the options with `foreground` chosen; raises ValueError if they do not fit."""
    options = replace(options, foreground=choose_foreground(options.foreground, config.name))
    one_of(str(options.bits), BITS, "--bits")
    if find_network(config.name).output != "alpha":
        raise ValueError(
            f"{config.name} predicts classes, not an alpha: predict with a network that takes a "
            "trimap, and pass this one's run as --trimap_from WORKDIR; or get class probabilities "
            f'from mj.Matter("{config.name}", ...)'
        )
    if options.trimap and options.trimap_from:
        raise ValueError("give one of --trimap and --trimap_from: both are trimaps")
    return options


def list_options(config: ConfigDict, options: Options) -> dict[str, Any]:
    """Returns the options that change the results of a photo, for the record of the folder."""
    foreground = None if options.foreground == "none" else options.foreground
    return {
        **shared_options(config),
        "foreground": foreground,
        "bits": options.bits,
        "align": options.align,
        "size_step": options.size_step,
    }


def find_jobs(config: ConfigDict, photos: str, output: Path, options: Options) -> list[Job]:
    """Returns what to do for each photo, with the files of the network's other inputs."""
    root, paths = find_photos(photos, output)
    given = {"background": options.background}
    if not options.trimap_from:
        given["trimap"] = options.trimap
    inputs = find_inputs(config, root, paths, given)
    if options.align:
        refuse_input("background", inputs, config.name, "--align")
        opencv()  # raises ImportError before the network is loaded
    kinds = ("alpha",) if options.foreground == "none" else ("alpha", "cutout")
    return plan_jobs(root, paths, inputs, output, SUFFIXES, kinds)


def choose_foreground(foreground: str | None, name: str) -> str:
    """Returns where the foreground colours come from, by default for the network `name`.

    Raises ValueError for an unknown choice, and for "network" if it predicts no such colours.
    """
    predicts = find_network(name).foreground is not None
    if foreground is None:
        return "network" if predicts else "multilevel"
    if one_of(foreground, FOREGROUNDS, "--foreground") == "network" and not predicts:
        raise ValueError(
            f"{name} predicts no foreground colours: pass --foreground multilevel or blur to "
            "estimate them, or none for no cut-out"
        )
    return foreground


def run_network(
    matter: Matter, options: Options, photo: Photo, **inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the alpha [H, W] of a photo, and its foreground colours if the network makes them."""
    if options.foreground == "network":
        return matter.cut_out(photo.image, **inputs)
    return matter(photo.image, **inputs), None


def draw(
    options: Options, photo: Photo, predicted: tuple[np.ndarray, np.ndarray | None]
) -> dict[str, np.ndarray]:
    """Returns the images to write for a photo.

    Args:
        options: `foreground` and `bits`.
        photo: the photo.
        predicted: what `run_network` returns.

    Returns:
        `alpha`, uint8 or uint16 [H, W], and `cutout`, uint8 [H, W, 4].
    """
    alpha, colours = predicted
    written = multiply_opacity(alpha, photo.opacity)
    images = {"alpha": quantise(written, options.bits)}
    if options.foreground == "none":
        return images
    written = quantise(written, 8)
    if options.foreground == "network":
        # Where alpha is 0 there is no foreground, and the network leaves the background.
        colours = np.where(written[..., None] > 0, quantise(colours, 8), 0)
    else:  # by the alpha of the photo's colours, which do not depend on its transparency
        colours = METHODS[options.foreground](photo.image, quantise(alpha, 8))
    return images | {"cutout": np.dstack([colours.astype(np.uint8), written])}


def quantise(image: np.ndarray, bits: int) -> np.ndarray:
    """Rounds values in [0, 1] to integers of 8 or 16 bits.

    Raises FloatingPointError for values that are not finite, which would become black.
    """
    if bad := image.size - np.count_nonzero(np.isfinite(image)):
        raise FloatingPointError(
            f"the network predicts NaN or infinity in {bad} of {image.size} values"
        )
    return np.rint((2**bits - 1) * image).astype(BITS[str(bits)])


def find_inputs(
    config: ConfigDict, root: Path, paths: Sequence[Path], given: Mapping[str, str | None]
) -> dict[str, dict[Path, Path]]:
    """Returns the files of the network's other inputs.

    Args:
        config: names the network and its keywords.
        root: folder that the photos share.
        paths: the photos.
        given: {kind: file or folder} of the command line.

    Returns:
        {kind: {photo: file}}.

    Raises:
        ValueError: if an input is missing, or given though the network does not take it.
    """
    taken = list_inputs(config)
    for kind, value in given.items():
        if value:
            refuse_input(kind, taken, config.name, f"--{kind}")
    needed = {kind: value for kind, value in given.items() if kind in taken}
    for kind in needed:
        require_input(
            kind,
            [x for x in needed if needed[x]],
            config.name,
            f"pass --{kind} FILE|DIR, {ADVICE[kind]}",
        )
    return {kind: find_companions(paths, root, kind, path) for kind, path in needed.items()}
