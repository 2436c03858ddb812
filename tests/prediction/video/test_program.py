"""Clips on the command line: every kind of result is read back."""

import os
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.data.clips import camera
from matting_jax.data.clips.reader import open_clip, open_container
from matting_jax.models import NETWORKS
from matting_jax.models.network import TrimapRule
from tests.clips import BACKGROUND, SUBJECT, composites, moving_alpha, sound_of, write_clip
from tests.prediction.video.commands import predict, read, times_of

OUTPUTS = ("alpha.mp4", "alpha.mkv", "out.webm", "out.mov", "new.mp4", "frames")


@pytest.fixture(scope="module")
def results(tiny_run, clip, tmp_path_factory):
    """The folder of all kinds of results of one run."""
    folder = tmp_path_factory.mktemp("results")
    outputs = ",".join(str(folder / name) for name in OUTPUTS)
    assert predict(tiny_run, clip, outputs, "--composite=green", "--bits=16") == 0
    return folder


@pytest.fixture(scope="module")
def expected(tiny_run, clip):
    """The alphas of the frames by the network as it predicts photos, [T, H, W] in [0, 1]."""
    checkpoint = tiny_run[1].partition("=")[2]
    variables = mj.load_checkpoint("tiny", checkpoint)
    matter = mj.Matter("tiny", variables, test_time={"reference_size": 32})
    return np.stack([matter(frame.image) for frame in open_clip(clip).read()])


def test_alpha_of_each_frame_is_that_of_the_photo(results, expected):
    assert sorted(path.name for path in results.iterdir()) == sorted(OUTPUTS)
    lossy = read(results / "alpha.mp4")[..., 0].astype(float)
    assert np.abs(lossy - 255 * expected).mean() < 1.5
    exact = read(results / "alpha.mkv", "gray16le")
    np.testing.assert_allclose(exact, 65535 * expected, atol=1)
    for number, alpha in enumerate(expected):
        image = Image.open(results / "frames" / f"{number:06d}_alpha.png")
        np.testing.assert_allclose(np.asarray(image), 65535 * alpha, atol=1)
    assert len(list((results / "frames").iterdir())) == 2 * len(expected)


def test_cut_outs_hold_alpha_and_the_composite_the_new_background(results, expected):
    for name, limit in (("out.webm", 2), ("out.mov", 1)):
        frames = list(open_clip(results / name).read())
        opacity = np.stack([frame.opacity for frame in frames]).astype(float)
        assert np.abs(opacity - 255 * expected).mean() < limit
    saved = np.asarray(Image.open(results / "frames" / "000003_composite.png")).astype(float)
    cutout = read(results / "out.mov", "rgba64le")[3] / 65535
    weight = expected[3][..., None]
    composite = weight * cutout[..., :3] + (1 - weight) * np.array([0, 128, 0]) / 255
    assert np.abs(saved - 255 * composite).mean() < 1.5
    assert np.abs(read(results / "new.mp4")[3] - saved).mean() < 4


@pytest.mark.parametrize("name", OUTPUTS[:-1])
def test_times_sound_and_length_are_those_of_the_clip(results, clip, name):
    times, source = times_of(results / name), times_of(clip)
    np.testing.assert_allclose(np.diff(times), np.diff(source), atol=1.1e-3)
    packets, end = sound_of(results / name)
    original, original_end = sound_of(clip)
    if name.endswith("webm"):  # holds no AAC
        with av.open(str(results / name)) as container:
            assert container.streams.audio[0].codec_context.name == "opus"
    else:
        assert packets == original
    # Matroska cannot start before 0, as AAC does: the whole clip is a little later.
    late = times[0] - source[0]
    assert -1e-3 <= late < 0.03
    assert abs(end - late - original_end) < 0.02


def test_colours_of_a_composite_are_the_foregrounds(subtraction_run, tmp_path):
    """Subject and background have one colour each, so that nothing of the old one may be left."""
    alpha = moving_alpha(3)
    write_clip(tmp_path / "in.mkv", composites(alpha), "ffv1", "bgra")
    Image.new("RGB", (64, 48), BACKGROUND).save(tmp_path / "empty.png")
    Image.new("RGB", (100, 48), (10, 20, 30)).save(tmp_path / "photo.png")
    flags = [f"--background={tmp_path / 'empty.png'}", f"--composite={tmp_path / 'photo.png'}"]
    output = tmp_path / "out"
    assert predict(subtraction_run, tmp_path / "in.mkv", output, "--foreground=blur", *flags) == 0
    difference = max(abs(a - b) for a, b in zip(SUBJECT, BACKGROUND, strict=True)) / 255
    for number in range(3):
        found = np.asarray(Image.open(output / f"{number:06d}_alpha.png")) / 255
        np.testing.assert_allclose(found, difference * alpha[number] / 255, atol=0.02)
        composite = np.asarray(Image.open(output / f"{number:06d}_composite.png"))
        outside = alpha[number] == 0
        np.testing.assert_allclose(composite[outside], [[10, 20, 30]] * outside.sum(), atol=1)


def test_background_is_aligned_once_and_a_gif_is_a_clip_if_asked(
    subtraction_run, tmp_path, monkeypatch
):
    """The camera looked a little to the side when the empty place was taken."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    place = np.array(coarse.resize((240, 200), Image.Resampling.NEAREST))
    frames = np.stack([place] * 3)
    for number in range(3):
        frames[number, 60:120, 80 + number : 150 + number] //= 2
    write_clip(tmp_path / "in.mkv", frames, "ffv1", "bgra")
    Image.fromarray(np.roll(place, 3, axis=1)).save(tmp_path / "empty.png")
    flags = [f"--background={tmp_path / 'empty.png'}", "--align"]
    assert predict(subtraction_run, tmp_path / "in.mkv", tmp_path / "alpha.mkv", *flags) == 0
    alpha = read(tmp_path / "alpha.mkv", "gray16le") / 65535
    assert alpha[:, 20:180, 20:70].mean() < 0.02 < 0.1 < alpha[:, 70:110, 90:140].mean()
    pages = [Image.fromarray(x).quantize(64) for x in frames]
    pages[0].save(tmp_path / "in.gif", save_all=True, append_images=pages[1:], duration=200)
    gif = [tmp_path / "in.gif", tmp_path / "out", "--video", "--foreground=none", *flags]
    assert predict(subtraction_run, *gif) == 0
    assert sorted(os.listdir(tmp_path / "out")) == [f"00000{k}_alpha.png" for k in range(3)]


def test_new_background_may_be_a_clip_that_starts_again(subtraction_run, tmp_path):
    alpha = moving_alpha(5)
    write_clip(tmp_path / "in.mkv", composites(alpha), "ffv1", "bgra")
    Image.new("RGB", (64, 48), BACKGROUND).save(tmp_path / "empty.png")
    colours = np.uint8([[[[10, 20, 30]]], [[[200, 100, 50]]]]).repeat(48, 1).repeat(64, 2)
    write_clip(tmp_path / "new.mkv", colours, "ffv1", "bgra")
    flags = [f"--background={tmp_path / 'empty.png'}", f"--composite={tmp_path / 'new.mkv'}"]
    assert predict(subtraction_run, tmp_path / "in.mkv", tmp_path / "out", *flags) == 0
    for number in range(5):
        image = np.asarray(Image.open(tmp_path / "out" / f"{number:06d}_composite.png"))
        np.testing.assert_array_equal(image[0, 0], colours[number % 2, 0, 0])


def test_colours_of_the_network_are_used_where_it_predicts_them(subtraction_run, tmp_path):
    """Those of this network are the photo's without red."""
    alpha = moving_alpha(2)
    write_clip(tmp_path / "in.mkv", composites(alpha), "ffv1", "bgra")
    Image.new("RGB", (64, 48), BACKGROUND).save(tmp_path / "empty.png")
    flags = f"--background={tmp_path / 'empty.png'}"
    assert predict(subtraction_run, tmp_path / "in.mkv", tmp_path / "out", flags) == 0
    cutout = np.asarray(Image.open(tmp_path / "out" / "000001_cutout.png"))
    assert cutout[..., 0].max() == 0
    opaque = alpha[1] == 255
    np.testing.assert_array_equal(cutout[opaque][:, 1:3], [SUBJECT[1:]] * opaque.sum())


def test_frames_of_a_folder_are_a_clip_and_trimaps_come_from_another_network(
    run_of, finished, tmp_path, monkeypatch, capsys
):
    rule = TrimapRule("alpha", 0.52, 0.0, {"alpha": (0,)})
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], trimap=rule))
    trimap_run, frames = run_of("tiny_trimap"), composites(moving_alpha(3))
    (tmp_path / "in").mkdir()
    for number, image in enumerate(frames, 9):  # 9, 10, 11
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    arguments = [trimap_run, tmp_path / "in", tmp_path / "alpha.mkv", "--video", "--frame_rate=10"]
    assert predict(*arguments) == 2
    assert "pass --trimap_from WORKDIR" in capsys.readouterr().err
    assert predict(*arguments, f"--trimap_from={finished[0]}") == 0
    np.testing.assert_allclose(times_of(tmp_path / "alpha.mkv"), [0, 0.1, 0.2], atol=1e-3)
    options = {"test_time": {"reference_size": 32}}
    first = mj.Matter("tiny", mj.load_checkpoint("tiny", finished[0]), **options)
    variables = mj.load_checkpoint("tiny_trimap", trimap_run[1].partition("=")[2])
    both = mj.Matter("tiny_trimap", variables, trimap_from=first)
    expected = np.stack([both(image) for image in frames])
    assert set(np.unique(expected)) & {0, 1} and len(np.unique(expected)) > 3
    found = read(tmp_path / "alpha.mkv", "gray16le")
    np.testing.assert_allclose(found, 65535 * expected, atol=1)


def test_odd_sizes_are_padded_for_h264_only(tiny_run, tmp_path):
    frames = composites(moving_alpha(2))[:, :47, :63]
    write_clip(tmp_path / "in.mkv", frames, "ffv1", "bgra")
    names = ("alpha.mp4", "alpha.mkv", "out.webm", "out.mov")
    outputs = ",".join(str(tmp_path / name) for name in names)
    assert predict(tiny_run, tmp_path / "in.mkv", outputs) == 0
    sizes = [read(tmp_path / name).shape[1:3] for name in names]
    assert sizes == [(48, 64), (47, 63), (47, 63), (47, 63)]


def test_transparency_of_later_frames_stays(tiny_run, tmp_path):
    """Also where all frames before are opaque."""
    alpha = np.full((4, 48, 64, 1), 255, np.uint8)
    alpha[2, :, :32] = 0
    frames = np.concatenate([composites(moving_alpha(4)), alpha], axis=-1)
    write_clip(tmp_path / "in.mkv", frames, "ffv1", "bgra")
    assert predict(tiny_run, tmp_path / "in.mkv", tmp_path / "alpha.mkv") == 0
    found = read(tmp_path / "alpha.mkv", "gray16le")
    np.testing.assert_array_equal((found == 0).all((1, 2)), False)
    np.testing.assert_array_equal((found[:, :, :32] == 0).all((1, 2)), [0, 0, 1, 0])


@pytest.mark.parametrize(("rotation", "expected"), [(None, (16, 11)), (90, (11, 16))])
def test_pixels_that_are_not_square_stay_so(tiny_run, tmp_path, rotation, expected):
    frames, aspect = composites(moving_alpha(1)), Fraction(16, 11)
    write_clip(tmp_path / "in.mp4", frames, rotation=rotation, pixel_aspect=aspect)
    assert predict(tiny_run, tmp_path / "in.mp4", tmp_path / "alpha.mp4") == 0
    with open_container(str(tmp_path / "alpha.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(*expected)


def test_camera_is_written_until_it_ends(tiny_run, tmp_path, monkeypatch):
    """FFmpeg's own test source replaces the camera."""
    source = "testsrc=size=64x48:rate=10:duration=0.4,setpts=PTS+99/TB"
    monkeypatch.setattr(camera, "open_device", lambda path, device: open_container(source, "lavfi"))
    assert predict(tiny_run, "camera:0", tmp_path / "alpha.mkv") == 0
    frames = [frame.image for frame in camera.open_camera("camera:0").read()]
    variables = mj.load_checkpoint("tiny", tiny_run[1].partition("=")[2])
    matter = mj.Matter("tiny", variables, test_time={"reference_size": 32})
    expected = np.stack([matter(frame) for frame in frames])
    exact = read(tmp_path / "alpha.mkv", "gray16le")
    np.testing.assert_allclose(exact, 65535 * expected, atol=1)
    np.testing.assert_allclose(times_of(tmp_path / "alpha.mkv"), [0, 0.1, 0.2, 0.3], atol=1e-3)
