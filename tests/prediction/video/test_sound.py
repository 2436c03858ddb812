"""Sound is copied where the container can hold it, and converted elsewhere."""

import av
import numpy as np
import pytest

from matting_jax.prediction.video.sound import Sound
from matting_jax.prediction.video.writers import CONTAINERS
from tests.clips import sine

SECONDS = 0.5


def write_sound(path, codec, layout="stereo", rate=48_000):
    """Writes a file that holds nothing but a sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        size = context.frame_size or 1024
        resample = av.AudioResampler(context.format, layout, rate, frame_size=size).resample
        for frame in sine(SECONDS, context):
            for resampled in resample(frame):
                container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return path


def copy(source, target):
    with av.open(str(target), "w", container_options=CONTAINERS[target.suffix]) as container:
        sound = Sound(source, container, target.suffix)
        sound.copy_until(float("inf"))
        sound.close()


def decode(path):
    """Returns the name of the codec, the number of channels, and the samples of the first one."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = [frame for frame in container.decode(stream)]
        resampled = av.AudioResampler("fltp", "mono", 48_000)
        samples = [x.to_ndarray()[0] for y in [*frames, None] for x in resampled.resample(y)]
        return stream.codec_context.name, stream.codec_context.channels, np.concatenate(samples)


@pytest.mark.parametrize(
    ("name", "codec", "layout", "target", "expected"),
    [
        ("in.ts", "aac", "stereo", "out.mp4", "aac"),  # headers in each packet
        ("in.ts", "aac", "stereo", "out.mov", "aac"),
        ("in.mkv", "ac3", "5.1(side)", "out.mp4", "ac3"),
        ("in.mkv", "flac", "stereo", "out.mp4", "flac"),
        ("in.mkv", "libopus", "stereo", "out.mkv", "opus"),
        ("in.mov", "pcm_alaw", "stereo", "out.mov", "pcm_alaw"),
        # Sound that the container cannot hold:
        ("in.webm", "libopus", "stereo", "out.mov", "aac"),
        ("in.mkv", "flac", "stereo", "out.mov", "aac"),
        ("in.mov", "pcm_alaw", "mono", "out.mkv", "aac"),
        ("in.avi", "pcm_u8", "stereo", "out.mp4", "aac"),  # a layout without a name
        ("in.mkv", "ac3", "5.1(side)", "out.webm", "opus"),
    ],
)
def test_sound_of_any_clip_can_be_written(tmp_path, name, codec, layout, target, expected):
    source = write_sound(tmp_path / name, codec, layout)
    copy(source, tmp_path / target)
    _, channels, heard = decode(source)
    found, found_channels, copied = decode(tmp_path / target)
    assert (found, found_channels) == (expected, channels)
    spectrum = np.abs(np.fft.rfft(copied[:24_000]))
    assert np.argmax(spectrum) == round(440 * len(copied[:24_000]) / 48_000)
    assert abs(len(copied) - len(heard)) <= 2048
    assert np.std(copied) == pytest.approx(np.std(heard), rel=0.1)
