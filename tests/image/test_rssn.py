"""RSSN against the official code, and its probabilities."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from matting_jax.config import load_config
from matting_jax.image import rssn
from matting_jax.image.geometry import resize_smooth
from matting_jax.tasks import find_task
from tests.goldens import synth
from tests.helpers import ROOT

OFF = dict(sharpness=0.0, noise=0.0, denoise=0.0, blur_sizes=(20, 30), noise_deviation=10.0)


def options(**fields):
    return ConfigDict({**OFF, **fields})


@pytest.fixture(scope="module")
def golden():
    return np.load(ROOT / "tests" / "goldens" / "gfm_losses.npz")


@pytest.fixture(scope="module")
def parts(golden):
    """Returns foreground, alpha, and a background resized as in the official code."""
    seed = int(golden["seed"])
    alpha = golden["rssn/mask"][..., None] / np.float32(255)
    foreground = np.rint(255 * synth.image(96, 80, 3, 1, seed + 8)[0]) / 255
    background = np.rint(255 * synth.image(130, 120, 3, 1, seed + 9)[0]).astype(np.uint8)
    background = resize_smooth(background / 255, 96, 80)
    return foreground.astype(np.float32), alpha, background.astype(np.float32)


def test_resized_background_equals_official(golden, parts):
    np.testing.assert_allclose(255 * parts[2][::2, ::2], golden["rssn/bg_resized"], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("comp", {}),
        ("comp_blur20", dict(sharpness=1.0, blur_sizes=(20,))),
        ("comp_blur30", dict(sharpness=1.0, blur_sizes=(30,))),
    ],
)
def test_composites_equal_official(golden, parts, name, fields):
    image, foreground, background = rssn.compose(jax.random.key(0), *parts, options(**fields))
    # The official ones are truncated to bytes.
    difference = 255 * np.asarray(image) - golden[f"rssn/{name}"]
    assert -1e-3 < difference.min() and difference.max() < 1 + 1e-3
    np.testing.assert_array_equal(foreground, parts[0])
    if fields:
        stored = golden[f"rssn/{name.replace('comp', 'bg')}"]
        np.testing.assert_allclose(255 * background[::2, ::2], stored, atol=1e-3)


def test_the_same_noise_is_added_to_all_and_clipped(parts):
    foreground, alpha, background = parts
    dark, light = np.zeros_like(foreground), np.ones_like(background)
    on = options(noise=1.0)
    key = jax.random.key(1)
    image, noisy, other = rssn.compose(key, foreground, alpha, background, on)
    middle = [(x > 0.2) & (x < 0.8) for x in (foreground, background)]
    middle = middle[0] & middle[1]
    added = [255 * (a - b)[middle] for a, b in ((noisy, foreground), (other, background))]
    np.testing.assert_allclose(added[0], added[1], atol=1e-4)
    assert np.std(added[0]) == pytest.approx(10, rel=0.05)
    assert np.mean(added[0]) == pytest.approx(0, abs=0.3)
    np.testing.assert_allclose(
        image[middle], (alpha * noisy + (1 - alpha) * other)[middle], atol=1e-5
    )
    _, dark, light = rssn.compose(key, dark, alpha, light, on)
    assert dark.min() == 0 and dark.max() < 0.5 and light.max() == 1 and light.min() > 0.5


def test_probabilities_are_independent_and_met(parts):
    """Of 400 samples, a quarter each is blurred, noisy, both or neither; sizes are uniform."""
    small = [x[:32, :32] for x in parts]
    on = options(sharpness=0.5, noise=0.5, blur_sizes=(3, 5))
    keys = jax.random.split(jax.random.key(0), 400)
    _, foreground, background = jax.jit(
        lambda keys: jax.lax.map(lambda key: rssn.compose(key, *small, on), keys)
    )(keys)
    noisy = np.abs(foreground - small[0]).max((1, 2, 3)) > 0
    # The noise is read from the foreground.
    background = background - (foreground - small[0])
    distances = [
        np.median(np.abs(background - plain), (1, 2, 3))
        for plain in (small[2], *(rssn.box_blur(small[2], size) for size in (3, 5)))
    ]
    which = np.argmin(distances, 0)
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.08)
    for size, share in enumerate((0.5, 0.25, 0.25)):
        assert np.mean(which == size) == pytest.approx(share, abs=0.08)
        assert np.mean(noisy[which == size]) == pytest.approx(0.5, abs=0.13)


def test_probability_zero_changes_nothing(parts):
    image, foreground, background = rssn.compose(jax.random.key(0), *parts, options())
    np.testing.assert_array_equal(foreground, parts[0])
    np.testing.assert_array_equal(background, parts[2])
    expected = parts[1] * parts[0] + (1 - parts[1]) * parts[2]
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_both_layers_are_denoised_or_neither():
    rng = np.random.default_rng(0)
    names = ("foreground", "background", "foreground_denoised", "background_denoised")
    arrays = {name: rng.random((4, 4, 3)).astype(np.float32) for name in names}
    chosen = []
    for key in jax.random.split(jax.random.key(0), 40):
        ours = rssn.denoise(key, arrays, options(denoise=0.5))
        assert ours.keys() == set(names[:2])
        same = [np.array_equal(ours[name], arrays[f"{name}_denoised"]) for name in names[:2]]
        assert same[0] == same[1]
        chosen.append(same[0])
    assert 10 < sum(chosen) < 30
    noisy = {name: arrays[name] for name in names[:2]}
    for on, given in ((options(), arrays), (options(denoise=1.0), noisy)):
        kept = rssn.denoise(jax.random.key(0), given, on)
        assert kept.keys() == set(names[:2])
        assert all(kept[name] is arrays[name] for name in kept)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(sharpness=1.5), r"rssn.sharpness must be a probability in \[0, 1\], got 1.5"),
        (dict(denoise=-1.0), "rssn.denoise must be a probability .* got -1.0"),
        (dict(blur_sizes=()), r"blur_sizes must hold sizes of at least 1, got \(\)"),
        (dict(blur_sizes=(3, 0)), "at least 1"),
    ],
)
def test_invalid_options_are_an_error(parts, fields, message):
    with pytest.raises(ValueError, match=message):
        rssn.compose(jax.random.key(0), *parts, options(**fields))


@pytest.mark.parametrize(
    ("file", "variant"),
    [("modnet", ""), ("modnet", "paddle"), ("pp_matting", ""), ("gca", ""), ("dim", "")],
)
def test_other_networks_can_train_with_rssn(file, variant):
    """Enabled, it changes the background of composites, or all their colours."""
    config = load_config(ROOT / "configs" / f"{file}.py", variant)
    assert not any(config.synthesis.rssn[name] for name in ("sharpness", "noise", "denoise"))
    for name in {"flip", "blur"} & set(config.synthesis):
        config.synthesis[name] = 0.0
    for group in {"jitter", "distort"} & set(config.synthesis):
        for name in config.synthesis[group]:
            config.synthesis[group][name] *= 0
    config.synthesis.rssn.blur_sizes = (21,)
    task = find_task(config.task.name)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    alpha = np.where(np.hypot(y - 32, x - 32) < 16, 255, 0).astype(np.uint8)[None, ..., None]
    names = ("foreground", "background", "foreground_denoised", "background_denoised")
    batch = {name: rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8) for name in names}
    batch["alpha"] = alpha
    key, inside = jax.random.split(jax.random.key(0), 1), alpha[..., 0] == 255
    plain, _ = task.synthesize(key, batch, config)
    config.synthesis.rssn.sharpness = config.synthesis.rssn.denoise = 1.0
    changed, truth = task.synthesize(key, batch, config)
    for inputs, end in ((plain, ""), (changed, "_denoised")):
        colours = batch[f"foreground{end}"][inside]
        np.testing.assert_allclose(255 * inputs["image"][inside], colours, atol=0.01)
    colours = batch["background"][~inside]
    np.testing.assert_allclose(255 * plain["image"][~inside], colours, atol=0.01)
    colours = 255 * rssn.box_blur(batch["background_denoised"][0] / np.float32(255), 21)[None]
    np.testing.assert_allclose(255 * changed["image"][~inside], colours[~inside], atol=0.01)
    if "background" in truth:
        np.testing.assert_allclose(255 * truth["background"], colours, atol=0.01)


def test_a_second_foreground_is_denoised_with_the_first():
    names = ("foreground", "background", "foreground2")
    arrays = {name: np.zeros((2, 2, 3), np.float32) for name in names}
    copies = {f"{name}_denoised": np.ones((2, 2, 3), np.float32) for name in names}
    ours = rssn.denoise(jax.random.key(0), arrays | copies, options(denoise=1.0))
    assert ours.keys() == set(names) and all(np.all(x == 1) for x in ours.values())
