"""Predicts clips as the command line does, and reads the results."""

import av
import numpy as np

from matting_jax.commandline import main
from matting_jax.data.clips.reader import open_clip


def predict(flags, source, output, *more):
    arguments = [*flags, f"--input={source}", f"--output={output}", *more]
    return main(["launch.py", "--mode=predict", *arguments], "")


def read(path, format="rgb24"):
    """Returns the frames of a clip as FFmpeg gives them, [T, H, W, C] or [T, H, W]."""
    with av.open(str(path)) as container:
        return np.stack([x.to_ndarray(format=format) for x in container.decode(video=0)])


def times_of(path):
    clip = open_clip(path)
    return np.array([float(frame.time * clip.time_base) for frame in clip.read()])
