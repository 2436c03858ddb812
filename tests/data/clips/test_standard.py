"""Clips in BT.2020 and of high dynamic range, encoded here by the formulae of BT.2100."""

import av
import numpy as np
import pytest

from matting_jax.data.clips.random_access import list_frames, read_frame
from matting_jax.data.clips.reader import open_clip

# Linear light of BT.709, 1 is white: greys, two of them brighter than white, and two colours.
GREYS = (0, 0.01, 0.05, 0.18, 0.5, 0.9, 1, 1.5, 4)
LIGHT = np.array([[x] * 3 for x in GREYS] + [[0.8, 0.5, 0.4], [0.2, 0.4, 0.1]])
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
SIDE = 16
FFMPEG = {"sdr": 14, "PQ": 16, "HLG": 18}


def pq(light):
    """Encodes light by SMPTE ST 2084, white at 203 cd/m2."""
    power = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light):
    """Encodes light by ARIB STD-B67, white at 75 % of the signal."""
    scene = np.maximum(light, 0) * 0.265
    bright = 0.17883277 * np.log(np.maximum(12 * scene, 1) - 0.28466892) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), np.minimum(bright, 1))


def camera(light):
    """Encodes light by the curve of BT.709 and BT.2020."""
    light = np.clip(light, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


def write_wide(path, curve):
    """Writes two frames of patches in BT.2020, 10 bits in limited range."""
    signal = {"sdr": camera, "PQ": pq, "HLG": hlg}[curve](LIGHT @ TO_BT2020.T)
    luma = signal @ [0.2627, 0.6780, 0.0593]
    blue, red = (signal[:, 2] - luma) / 1.8814, (signal[:, 0] - luma) / 1.4746
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = len(LIGHT) * SIDE, 32, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries = context.colorspace = 9
        context.color_trc, context.color_range = FFMPEG[curve], 1
        for _ in range(2):
            frame = av.VideoFrame(stream.width, stream.height, "yuv420p10le")
            planes = (64 + 876 * luma, 512 + 896 * blue, 512 + 896 * red)
            for plane, values, side in zip(frame.planes, planes, (16, 8, 8), strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : side * len(LIGHT)] = np.rint(values).repeat(side)
                plane.update(rows.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def middles(image):
    return image[SIDE, SIDE // 2 :: SIDE].astype(int)


@pytest.mark.parametrize(
    ("curve", "limit"),
    # The tone map lifts the shadows.
    [("sdr", 2), ("HLG", 20), pytest.param("PQ", 32, marks=pytest.mark.slow)],
)
def test_wide_colours_become_those_of_bt_709(tmp_path, curve, limit):
    """White becomes white, and what is brighter too."""
    path = write_wide(tmp_path / "wide.mkv", curve)
    frames = [frame.image for frame in open_clip(path).read()]
    found, expected = middles(frames[0]), np.rint(255 * camera(LIGHT)).astype(int)
    assert np.abs(found - expected).max() <= limit
    assert (np.diff(found[:7, 1]) > 8).all() and found[6:9].min() >= 252
    np.testing.assert_array_equal(frames[1], frames[0])
    np.testing.assert_array_equal(read_frame(list_frames(path)[1]), frames[1])
