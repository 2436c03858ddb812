"""Alphas of frames in memory, with the test-time rule compiled whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.image.blur_fusion import blur_fusion
from matting_jax.metrics.video import dtssd
from matting_jax.prediction.video import frames as frames_module
from matting_jax.prediction.video import layers
from matting_jax.prediction.video.smooth import THRESHOLD, smooth
from matting_jax.training.state import initial_variables, training_model
from tests.clips import composites, moving_alpha
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def matter():
    config = tiny_config()
    variables = initial_variables(config, training_model(config))
    yield mj.Matter("tiny", variables, test_time={"reference_size": 32})


FRAMES = composites(moving_alpha(5))


@pytest.mark.parametrize("batch", [1, 2])
def test_alphas_of_frames_are_those_of_photos(matter, batch):
    expected = np.stack([matter(frame) for frame in FRAMES])
    read = []

    def frames():
        for frame in FRAMES:
            read.append(frame)
            yield frame

    alphas = matter.video(frames(), batch=batch)
    first = next(alphas)
    assert len(read) <= 2 * batch  # few frames are in memory
    found = np.stack([first, *alphas])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_batch_that_does_not_fit_in_memory_is_halved(matter, monkeypatch, caplog):
    monkeypatch.setattr(frames_module, "free_bytes", lambda device: 1)
    caplog.set_level("INFO")
    found = np.stack(list(matter.video(FRAMES, batch=2)))
    assert "do not fit in memory: 1 at a time" in caplog.text
    np.testing.assert_allclose(found, list(matter.video(FRAMES)), atol=2e-6)


def test_smoothed_alphas_are_the_rule_applied_to_neighbours(matter):
    alphas = list(matter.video(FRAMES))
    middle = [np.asarray(smooth(*alphas[t - 1 : t + 2], 0.01)) for t in (1, 2, 3)]
    found = list(matter.video(FRAMES, smooth=0.01))
    np.testing.assert_allclose(found, [alphas[0], *middle, alphas[4]], atol=2e-6)
    assert not np.allclose(found, alphas, atol=2e-6)
    assert len(list(matter.video(FRAMES[:1], smooth=0.01))) == 1


def test_smoothing_takes_the_mean_where_only_the_middle_is_off():
    cases = {  # alpha before, of the frame, and after: the result
        (0.2, 0.5, 0.28): 0.24,  # off, between neighbours that agree
        (0.2, 0.25, 0.2): 0.25,  # not off
        (0.2, 0.31, 0.2): 0.2,  # just off
        (0.2, 0.5, 0.4): 0.5,  # the neighbours disagree
        (0.2, 0.9, 1.0): 0.9,  # an edge that arrives
    }
    before, alpha, after = jnp.array(list(cases)).T
    np.testing.assert_allclose(smooth(before, alpha, after, 0.1), [*cases.values()], atol=1e-6)


@pytest.mark.parametrize("motion", [0, 1, 3])
def test_smoothing_removes_what_flickers_for_one_frame_and_keeps_the_rest(motion):
    disc = moving_alpha(1, 60, 80)[0] / 255
    truth = np.stack([np.roll(disc, motion * t, axis=1) for t in range(13)]).astype(np.float32)
    spotted = truth.copy()
    spotted[2::6, :5, 30:50] = 1
    smoothed = np.stack(
        [spotted[0]]
        + [np.asarray(smooth(*spotted[t - 1 : t + 2], THRESHOLD)) for t in range(1, 12)]
        + [spotted[-1]]
    )
    assert dtssd(spotted, truth).mean() > 2 and dtssd(smoothed, truth).mean() < 0.1
    clean = [np.asarray(smooth(*truth[t - 1 : t + 2], THRESHOLD)) for t in range(1, 12)]
    np.testing.assert_allclose(clean, truth[1:12], atol=0.03)


def test_frames_are_checked(matter):
    for bad, words in (
        (FRAMES[0].astype(np.float32), "frame 1 must be uint8"),
        (FRAMES[0][:40], "frame 1 has the size 64 x 40"),
    ):
        with pytest.raises(ValueError, match=words):
            list(matter.video([FRAMES[0], bad]))
    with pytest.raises(ValueError, match="takes no background"):
        matter.video(FRAMES, background=FRAMES[0])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        matter.video(FRAMES, batch=0)
    for wrong in (-0.1, 2, float("nan"), "delay"):
        with pytest.raises(ValueError, match=r"smooth must be None or a number in \[0, 1\]"):
            matter.video(FRAMES, smooth=wrong)
    subtraction = mj.Matter("tiny_background", {"params": {"gain": np.ones(1, np.float32)}})
    with pytest.raises(ValueError, match=r"background must be uint8 \[H, W, 3\], got float32"):
        subtraction.video(FRAMES, background=FRAMES[0].astype(np.float32))
    assert list(matter.video([])) == []


def test_cut_out_has_colours_by_blur_fusion_in_one_program():
    rng = np.random.default_rng(0)
    image, alpha = (
        rng.integers(0, 256, (1, 96, 100, 3), np.uint8),
        moving_alpha(1, 96, 100)[..., None],
    )
    alpha = np.float32(alpha) / 255
    names = ("alpha16", "cutout8", "cutout16")
    drawn = jax.jit(lambda x: layers.draw(x, names))({"image": image, "alpha": alpha})
    colours = np.asarray(blur_fusion(np.float32(image) / 255, jnp.asarray(alpha))[0])
    colours = np.where(alpha == 1, image / 255, colours)
    for name, scale in (("cutout8", 255), ("cutout16", 65535)):
        np.testing.assert_allclose(drawn[name][..., :3] / scale, colours, atol=0.51 / 255)
        np.testing.assert_allclose(drawn[name][..., 3:] / scale, alpha, atol=0.51 / scale)
    np.testing.assert_allclose(drawn["alpha16"], 65535 * alpha[..., 0], atol=0.51)


def test_opacity_of_a_frame_multiplies_its_alpha():
    image = np.full((1, 4, 4, 3), 9, np.uint8)
    opacity = np.uint8([0, 51, 255, 102]).reshape(1, 1, 4, 1).repeat(4, 1)
    given = {"image": image, "alpha": np.ones((1, 4, 4, 1), np.float32), "opacity": opacity}
    np.testing.assert_array_equal(layers.draw(given, ("alpha8",))["alpha8"], opacity[..., 0])


def test_networks_colours_fill_where_alpha_is_0_from_around():
    alpha = np.zeros((1, 40, 40, 1), np.float32)
    alpha[:, 10:20, 10:20] = 1
    foreground = np.where(alpha > 0, [0.2, 0.4, 0.6], [1.0, 0.0, 0.0]).astype(np.float32)
    given = {"image": np.zeros((1, 40, 40, 3), np.uint8), "alpha": alpha, "foreground": foreground}
    colours = np.asarray(jax.jit(layers.foreground_of)(given))
    np.testing.assert_allclose(colours[0, 8:22, 8:22], [[[0.2, 0.4, 0.6]] * 14] * 14, atol=1e-3)
    assert colours[0, 35, 35].max() < 0.1  # nothing of the background's red
