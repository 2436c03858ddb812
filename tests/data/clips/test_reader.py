from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from matting_jax.data.clips import camera
from matting_jax.data.clips.folder import open_frames
from matting_jax.data.clips.reader import open_clip, open_container
from tests.clips import TIMES, composites, moving_alpha, write_clip

SIDE = 16  # of a patch of one colour


def patches(height=48, width=64, frames=2):
    """Returns frames uint8 [T, H, W, 3] of patches of random colours."""
    colours = np.random.default_rng(0).integers(0, 256, (frames, 12, 20, 3), np.uint8)
    return colours.repeat(SIDE, 1).repeat(SIDE, 2)[:, :height, :width]


def images_of(clip):
    return np.stack([frame.image for frame in clip.read()])


def worst(clip, frames):
    """Returns the largest error in the middle of the patches, where no chroma is shared."""
    error = np.abs(images_of(clip).astype(int) - frames)
    inside = error[:, SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]
    return inside.max()


@pytest.mark.parametrize(
    ("name", "coding", "limit"),
    [
        ("untagged.mp4", {}, 3),
        ("hd.mp4", {"matrix": "ITU709"}, 3),
        ("sd.mp4", {"matrix": "ITU601"}, 3),
        ("full.mp4", {"matrix": "ITU709", "full": True}, 3),
        ("ten_bits.mp4", {"matrix": "ITU709", "pixels": "yuv420p10le"}, 2),
        ("ten_bits_full.mov", {"matrix": "ITU709", "pixels": "yuv444p10le", "full": True}, 2),
        ("vp9.webm", {"matrix": "ITU709", "codec": "libvpx-vp9", "options": {"lossless": "1"}}, 2),
        ("rgb.mkv", {"codec": "ffv1", "pixels": "bgra"}, 0),
    ],
)
def test_colours_come_back_within_what_the_codec_loses(tmp_path, name, coding, limit):
    frames = patches()
    clip = open_clip(write_clip(tmp_path / name, frames, **coding))
    assert worst(clip, frames) <= limit
    assert clip.problems == []


def test_untagged_clips_are_bt_709_from_720_rows_on(tmp_path):
    for height, matrix in ((720, "ITU709"), (702, "ITU601")):
        frames = patches(192, 320, 1).repeat(4, 1)[:, :height]
        path = tmp_path / f"{height}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.height, stream.width, stream.pix_fmt = height, 320, "yuv444p"
            frame = av.VideoFrame.from_ndarray(frames[0], format="rgb24")
            frame = frame.reformat(format="yuv444p", dst_colorspace=matrix)
            frame.colorspace = 2  # unspecified
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert worst(open_clip(path), frames) <= 3


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mov", "uneven.mkv", "uneven.avi"])
def test_times_of_uneven_frames_are_kept(tmp_path, name):
    frames = composites(moving_alpha())
    if name.endswith("avi"):  # has no times: frames follow one another
        clip = open_clip(write_clip(tmp_path / name, frames, "mpeg4", time_base=Fraction(1, 10)))
        expected = np.arange(12) / 10
    else:
        clip = open_clip(write_clip(tmp_path / name, frames, times=TIMES))
        expected = np.array(TIMES) / 10
    times = np.array([float(frame.time * clip.time_base) for frame in clip.read()])
    np.testing.assert_allclose(times - times[0], expected, atol=1e-3)
    assert clip.count >= 12 and (clip.width, clip.height) == (64, 48)


@pytest.mark.parametrize("size", [(47, 63), (33, 40), (48, 61)])
def test_odd_sizes_are_read(tmp_path, size):
    frames = patches(*size)
    for name, coding in {
        "a.mkv": {"codec": "ffv1", "pixels": "bgra"},
        "b.webm": {"codec": "libvpx-vp9", "options": {"lossless": "1"}},
        "c.mp4": {"pixels": "yuv444p"},
    }.items():
        clip = open_clip(write_clip(tmp_path / name, frames, **coding))
        assert (clip.height, clip.width) == size
        assert worst(clip, frames) <= 3


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_frames_are_turned_as_a_player_turns_them(tmp_path, degrees):
    frames = patches()
    clip = open_clip(write_clip(tmp_path / "turned.mp4", frames, rotation=degrees))
    turned = np.rot90(frames, degrees // 90, (1, 2))
    assert (clip.height, clip.width) == turned.shape[1:3]
    assert worst(clip, turned) <= 3


def test_matrix_of_a_phone_held_upright_turns_the_top_to_the_right(tmp_path):
    """In a file the matrix (0 1; -1 0) maps the top row, left to right, to the right column."""
    path = write_clip(tmp_path / "phone.mp4", patches(), rotation=-90)
    content = path.read_bytes()
    place = content.index(b"tkhd") + 44
    rows = np.frombuffer(content[place : place + 36], ">i4").reshape(3, 3)[:2, :2]
    np.testing.assert_array_equal(rows, [[0, 1 << 16], [-1 << 16, 0]])
    seen = images_of(open_clip(path))[0]
    top = patches()[0][SIDE // 2, SIDE // 2 :: SIDE]
    right = seen[SIDE // 2 :: SIDE, -SIDE // 2]
    assert np.abs(top.astype(int) - right).max() <= 3


@pytest.mark.parametrize(
    ("name", "coding"),
    [
        ("a.webm", {"codec": "libvpx-vp9", "pixels": "yuva420p", "options": {"auto-alt-ref": "0"}}),
        ("b.mkv", {"codec": "ffv1", "pixels": "bgra"}),
        ("c.mov", {"codec": "prores_ks", "pixels": "yuva444p10le"}),
    ],
)
def test_transparency_of_a_clip_is_its_opacity(tmp_path, name, coding):
    alpha = moving_alpha(3)
    frames = np.concatenate([composites(np.full_like(alpha, 255)), alpha[..., None]], axis=-1)
    clip = open_clip(write_clip(tmp_path / name, frames, **coding))
    found = np.stack([frame.opacity for frame in clip.read()])
    assert np.abs(found.astype(int) - alpha).mean() < 1


def test_damaged_frames_are_reported_and_the_others_read(tmp_path):
    frames = patches(frames=6)
    path = write_clip(tmp_path / "a.mov", frames, "png", "rgb24")
    with av.open(str(path)) as container:
        sizes = [(x.pos, x.size) for x in container.demux() if x.size]
    content = bytearray(path.read_bytes())
    middle = sizes[3][0] + sizes[3][1] // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    clip = open_clip(path)
    read = list(clip.read())
    assert len(clip.problems) == 1 and "0.300 s" in clip.problems[0]
    intact = [frame.image for frame in read if frame.time * clip.time_base != Fraction(3, 10)]
    np.testing.assert_array_equal(np.stack(intact), np.delete(frames, 3, axis=0))


@pytest.mark.parametrize("sound", [None, "libopus"])
@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("a.mkv", "ffv1", "bgra"), ("a.webm", "libvpx", "yuv420p")]
)
def test_clip_that_ends_early_is_read_up_to_there_and_reported(
    tmp_path, name, codec, pixels, sound
):
    path = write_clip(tmp_path / name, patches(frames=20), codec, pixels, sound=sound)
    whole = open_clip(path)
    assert sum(1 for _ in whole.read()) == 20 and whole.problems == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = open_clip(path)
    count = sum(1 for _ in clip.read())
    assert 2 <= count < 16
    [problem] = clip.problems
    assert problem == f"the file ends early: at {count / 10:.3f} of 2.000 s"


def test_long_last_frame_is_no_early_end(tmp_path):
    frames = [Image.fromarray(x) for x in patches(frames=3)]
    kind = {"save_all": True, "append_images": frames[1:], "duration": [100, 100, 5000]}
    frames[0].save(tmp_path / "a.gif", **kind)
    clip = open_clip(tmp_path / "a.gif")
    assert sum(1 for _ in clip.read()) == 3 and clip.problems == []


def test_what_is_no_clip_is_refused_with_its_name(tmp_path):
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), "f4"), format="flt", layout="stereo")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in {
        "sound.mp4": "no pictures",
        "empty.mp4": "",
        "noise.mp4": "invalid data",
        "folder.mp4": "folder",
    }.items():
        with pytest.raises(ValueError, match=f"cannot read the clip .*{name}.*{reason}"):
            open_clip(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no clip"):
        open_clip(tmp_path / "missing.mp4")


def test_numbered_frames_are_a_clip_in_the_order_of_their_numbers(tmp_path):
    frames = patches(frames=4)
    for number, image in zip((8, 9, 10, 12), frames, strict=True):
        Image.fromarray(image).save(tmp_path / f"take2_{number}.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "take2_13.png")
    (tmp_path / "take2_14.png").write_bytes(b"broken")
    clip = open_frames(tmp_path, Fraction(30))
    read = list(clip.read())
    np.testing.assert_array_equal(np.stack([frame.image for frame in read]), frames)
    assert [30 * frame.time * clip.time_base for frame in read] == [0, 1, 2, 4]
    assert len(clip.problems) == 2 and "take2_13.png" in clip.problems[0]


def test_frames_without_numbers_and_with_equal_ones_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images"):
        open_frames(tmp_path, Fraction(25))
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png has no number"):
        open_frames(tmp_path, Fraction(25))
    (tmp_path / "a.png").unlink()
    for name in ("a1.png", "b01.png"):
        Image.new("RGB", (10, 10)).save(tmp_path / name)
    with pytest.raises(ValueError, match="same number"):
        open_frames(tmp_path, Fraction(25))


def test_camera_is_read_as_a_clip_and_a_missing_one_is_an_error(monkeypatch):
    with pytest.raises(FileNotFoundError, match="camera:7: cannot open .*connect a camera"):
        camera.open_camera("camera:7")
    with pytest.raises(ValueError, match="write camera:0"):
        camera.open_camera("camera:front")

    def open_test_source(path, device):  # FFmpeg's own, in place of a camera
        return open_container("testsrc=size=64x48:rate=10:duration=1,setpts=PTS+99/TB", "lavfi")

    monkeypatch.setattr(camera, "open_device", open_test_source)
    clip = camera.open_camera("camera:0")
    frames = list(clip.read())
    assert len(frames) == 10 and clip.sound is None
    assert [round(float(x.time * clip.time_base), 3) for x in frames] == [k / 10 for k in range(10)]
    assert frames[0].image.std() > 50
