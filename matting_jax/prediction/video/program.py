"""Writes the alpha, the cut-out or a composite of a clip (--mode predict)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.data.clips.camera import is_camera, open_camera
from matting_jax.data.clips.clip import Clip
from matting_jax.data.clips.folder import open_frames
from matting_jax.data.clips.reader import open_clip
from matting_jax.data.files.images import read_visible
from matting_jax.image.align import align, opencv
from matting_jax.models import find_network
from matting_jax.overlap import MOST_PIXELS
from matting_jax.prediction.batches import photos_a_device
from matting_jax.prediction.companions import ADVICE
from matting_jax.prediction.inputs import size_of
from matting_jax.prediction.load import list_inputs, load_matter
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.video.backdrop import open_backdrop
from matting_jax.prediction.video.frames import FramePredictor
from matting_jax.prediction.video.layers import draw, has_colours
from matting_jax.prediction.video.outputs import (
    check_results,
    images_of,
    open_writers,
    split_outputs,
)
from matting_jax.prediction.video.run import Done, write_clip
from matting_jax.prediction.video.smooth import THRESHOLD
from matting_jax.stopping import Stopped

FOREGROUNDS = ("network", "blur", "none")
SMOOTHINGS = ("delay", "none")
RATE, RATES = 25, (0.001, 1000)  # frames a second of a folder: the default, and valid ones

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Options:
    """Options of `predict_clip`, named as the flags of the command line.

    Attributes:
        background: photo of the empty place.
        align: align it with the first frame.
        trimap_from: workdir of a network that makes the trimaps.
        trimap_rule: fields of that network's rule to replace.
        foreground: where foreground colours come from: "network", the default if it predicts them,
            "blur", or "none" for no cut-outs in folders.
        bits: 8 or 16, of alphas in folders.
        composite: the new background: a colour, a photo or a clip.
        smooth: "delay" or "none".
        smooth_threshold: largest difference of values that agree; None: 0.1, as in the paper.
        frame_rate: frames a second of a folder of frames; None: 25.
        batch: frames that are computed together; 0: 1 on CPU, elsewhere by their size.
        overwrite: replace existing results.
    """

    background: str | None = None
    align: bool = False
    trimap_from: str | None = None
    trimap_rule: Mapping[str, Any] | None = None
    foreground: str | None = None
    bits: int = 8
    composite: str | None = None
    smooth: str = "none"
    smooth_threshold: float | None = None
    frame_rate: float | None = None
    batch: int = 0
    overwrite: bool = False

    @classmethod
    def flags(cls) -> list[str]:
        """Returns the names of the flags; those of the trimap rule are several."""
        return [field.name for field in fields(cls) if field.name != "trimap_rule"]


def predict_clip(
    config: ConfigDict, checkpoint: str | Path, source: str, output: str, options: Options
) -> int:
    """Writes the results of a clip that the names in `output` ask for.

    Args:
        config: names the network, its keywords and the options of its test-time rule.
        checkpoint: an official file or a workdir.
        source: the file of a clip, a folder of numbered frames, or camera:N.
        output: files and folders, separated by commas.
        options: what the command line's flags say.

    Returns:
        1 if frames were damaged, else 0.

    Raises:
        ValueError: if the arguments do not fit the network or one another.
        OSError: if a result exists, before anything is written, or cannot be written.
        Stopped: after a signal; the results hold what came before.
    """
    check_inputs(config, options)
    check_values(options)
    foreground = choose_foreground(options.foreground, config.name)
    check_effects(source, options)
    paths, cut_out = split_outputs(output), foreground != "none"
    kinds = (options.composite is not None, cut_out, options.bits)
    images = images_of(paths, *kinds)
    if has_colours(images) and not cut_out:
        raise ValueError("--foreground none makes no cut-out and no composite: omit it")
    if options.bits == 16 and not any(name.endswith("16") for name in images):
        raise ValueError(f"--bits 16: {output} has 8 bits: write alpha.mkv or a folder")
    inputs = [x for x in (source, options.composite, options.background) if x]
    check_results(paths, inputs, options.overwrite)
    clip = open_source(source, options, config.data.colour_profile)
    background, backdrop = read_background(clip, options, config), None
    if options.composite is not None:
        size = (clip.height, clip.width)
        backdrop = open_backdrop(options.composite, *size, config.data.colour_profile)
    matter = load_matter(
        config, checkpoint, trimap_from=options.trimap_from, trimap_rule=options.trimap_rule
    )
    predictor = FramePredictor(
        matter,
        partial(draw, images=images),
        foreground=has_colours(images) and foreground == "network",
        background=background,
        threshold=threshold_of(options),
        batch=options.batch or default_batch(matter, clip),
    )
    writers = open_writers(paths, clip, *kinds)
    return report(clip, write_clip(clip, predictor, writers, backdrop), output)


def check_inputs(config: ConfigDict, options: Options) -> None:
    """Raises ValueError if the network predicts no alpha, or for a missing or unexpected input."""
    if find_network(config.name).output != "alpha":
        raise ValueError(
            f"{config.name} predicts classes, not an alpha: predict the clip with a network that "
            "takes a trimap, and pass this one's run as --trimap_from WORKDIR"
        )
    taken = list_inputs(config)
    if "trimap" in taken and not options.trimap_from:
        raise ValueError(
            f"{config.name} needs a trimap of each frame: pass --trimap_from WORKDIR, a network "
            "that makes them"
        )
    if options.background:
        refuse_input("background", taken, config.name, "--background")
    if "background" in taken:
        given = ["background"] if options.background else []
        way = f"pass --background FILE, {ADVICE['background']}"
        require_input("background", given, config.name, way)
    if options.align:
        refuse_input("background", taken, config.name, "--align")
        opencv()  # raises ImportError before the network is loaded


def check_values(options: Options) -> None:
    """Raises ValueError for a value that an option cannot have."""
    one_of(options.smooth, SMOOTHINGS, "--smooth")
    one_of(str(options.bits), ("8", "16"), "--bits")
    if options.batch < 0:
        raise ValueError(f"--batch must be at least 0, got {options.batch}")
    if options.frame_rate is not None and not RATES[0] <= options.frame_rate <= RATES[1]:
        raise ValueError(f"--frame_rate must be in {list(RATES)}, got {options.frame_rate}")
    if options.smooth_threshold is not None and not 0 <= options.smooth_threshold <= 1:
        raise ValueError(f"--smooth_threshold must be in [0, 1], got {options.smooth_threshold}")


def choose_foreground(foreground: str | None, name: str) -> str:
    """Returns where the foreground colours come from, by default for the network `name`.

    Raises ValueError for an unknown choice, and for "network" if it predicts no such colours.
    """
    predicts = find_network(name).foreground is not None
    if foreground is None:
        return "network" if predicts else "blur"
    if foreground == "multilevel":
        raise ValueError("--foreground multilevel is for photos: for a clip pass blur, or network")
    if one_of(foreground, FOREGROUNDS, "--foreground") == "network" and not predicts:
        raise ValueError(f"{name} predicts no foreground colours: pass --foreground blur")
    return foreground


def check_effects(source: str, options: Options) -> None:
    """Raises ValueError for an option that this input or another option leaves without effect."""
    if options.smooth_threshold is not None and options.smooth == "none":
        raise ValueError("--smooth_threshold is for --smooth delay: give both")
    if options.frame_rate is not None and not Path(source).is_dir():
        raise ValueError(
            f"--frame_rate is for a folder of frames, but {source} has times of its own: omit it"
        )


def threshold_of(options: Options) -> float | None:
    """Returns the threshold of `smooth`, or None without smoothing."""
    if options.smooth == "none":
        return None
    return THRESHOLD if options.smooth_threshold is None else options.smooth_threshold


def open_source(source: str, options: Options, profile: str) -> Clip:
    """Opens a clip, a folder of numbered frames or a camera."""
    if is_camera(source):
        return open_camera(source)
    if Path(source).is_dir():
        rate = Fraction(options.frame_rate or RATE).limit_denominator(1001)
        return open_frames(Path(source), rate, profile)
    return open_clip(source)


def read_background(clip: Clip, options: Options, config: ConfigDict) -> np.ndarray | None:
    """Returns the photo of the empty place, uint8 [H, W, 3], aligned with the first frame if asked.

    Raises ValueError if it does not fit the clip.
    """
    if not options.background:
        return None
    image = read_visible(options.background, config.data.colour_profile)
    if options.align:
        with closing(clip.read()) as frames:
            first = next(frames)
        try:
            image = align(image, first.image)
        except ValueError as error:
            raise ValueError(
                f"{options.background} cannot be aligned with {clip.name}: {error}; pass another "
                "background, or omit --align if the camera stood still"
            ) from error
    if image.shape[:2] != (clip.height, clip.width):
        raise ValueError(
            f"{options.background}: {size_of(image)} pixels, but {clip.name} has "
            f"{clip.width} x {clip.height}"
        )
    return image


def default_batch(matter: Matter, clip: Clip) -> int:
    """Returns how many frames are computed together: as many as photos, within host memory."""
    size = (clip.height, clip.width)
    count = photos_a_device(jax.default_backend(), matter.list_programs(*size))
    return max(min(count, MOST_PIXELS // (clip.height * clip.width)), 1)


def report(clip: Clip, done: Done, output: str) -> int:
    """Prints what was written; returns 1 if frames were damaged. Raises Stopped after a signal."""
    of = f" of {clip.count}" if clip.count > done.frames else ""
    print(f"{done.frames}{of} frames: {output}")
    for problem in clip.problems:
        print(f"{clip.name}: {problem}", file=sys.stderr)
    if done.signal:
        raise Stopped(done.signal, f"{done.frames} frames are kept in {output}")
    return int(bool(clip.problems))
