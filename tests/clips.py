"""Synthesised clips: a disc of known alpha that moves over a background."""

from fractions import Fraction

import av
import numpy as np

from matting_jax.data.clips.library import exact
from tests.helpers import soft_disc

SUBJECT, BACKGROUND = (210, 60, 50), (40, 90, 170)
TIMES = (0, 1, 2, 4, 5, 7, 8, 9, 12, 13, 14, 15)  # in ticks, uneven


def moving_alpha(frames=12, height=48, width=64):
    """Returns the alpha uint8 [T, H, W] of a disc that moves two pixels a frame."""
    disc = soft_disc(height, width)
    return np.stack([np.roll(disc, 2 * t - frames, axis=1) for t in range(frames)])


def composites(alpha, subject=SUBJECT, background=BACKGROUND):
    """Returns frames uint8 [T, H, W, 3] of a subject of one colour over another."""
    weight = alpha[..., None] / 255
    image = weight * np.array(subject) + (1 - weight) * np.array(background)
    return np.rint(image).astype(np.uint8)


def write_clip(
    path,
    frames,
    codec="libx264",
    pixels="yuv420p",
    *,
    times=None,
    time_base=Fraction(1, 10),
    options=None,
    matrix=None,
    full=False,
    rotation=None,
    sound=None,
    pixel_aspect=None,
):
    """Writes frames uint8 [T, H, W, 3 or 4] as a clip.

    Args:
        path: the file.
        frames: colours, or colours and alpha.
        codec: FFmpeg's encoder.
        pixels: the stored pixel format.
        times: of the frames in ticks of `time_base`; None: 0, 1, 2, ...
        time_base: seconds of a tick.
        options: of the encoder.
        matrix: "ITU709" or "ITU601" to convert by and to write into the header; None: by BT.601,
            and nothing is written.
        full: whether the range is 0 to 255.
        rotation: degrees anticlockwise by which a player turns the frames.
        sound: encoder of a sine of the clip's length; None: no sound.
        pixel_aspect: width of a pixel over its height; None: nothing is written.
    """
    times = range(len(frames)) if times is None else times
    if options is None:
        options = {"crf": "1", "preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = time_base
        if matrix:
            number = {"ITU709": 1, "ITU601": 5}[matrix]
            context.colorspace = context.color_primaries = context.color_trc = number
            context.color_range = 2 if full else 1
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        heard = container.add_stream(sound, rate=48_000) if sound else None
        given = "rgba" if frames.shape[-1] == 4 else "rgb24"
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=given)
            if pixels != given:
                frame = frame.reformat(
                    format=pixels,
                    dst_colorspace=matrix,
                    dst_color_range=("JPEG" if full else "MPEG") if matrix else None,
                    interpolation=exact(),
                )
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        if heard:
            for frame in sine(float((times[-1] + 1) * time_base), heard.codec_context):
                container.mux(heard.encode(frame))
            container.mux(heard.encode(None))
        container.mux(stream.encode(None))
    return path


def sine(seconds, context):
    """Yields stereo frames of 1024 samples of a sine of 440 Hz."""
    for start in range(0, int(48_000 * seconds), 1024):
        wave = np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / 48_000)
        samples = np.repeat(np.float32(0.3 * wave), 2)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        yield frame


def sound_of(path):
    """Returns the payloads of all packets of the sound of a clip, and its seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [x for x in container.demux(stream) if x.size]
        end = max(float((x.pts + x.duration) * x.time_base) for x in packets)
        return [bytes(x) for x in packets], end
