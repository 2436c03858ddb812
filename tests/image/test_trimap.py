"""Trimaps against the official values and against plain loops, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from matting_jax.image import trimap
from matting_jax.image.morphology import dilate, ellipse, erode
from matting_jax.tasks import soc
from tests.helpers import GOLDENS, dilated

TRIMAPS = np.load(GOLDENS / "trimap_cases.npz")
PADDLE = np.load(GOLDENS / "modnet_paddle_augment.npz")

# Each rule with traced sizes, and the largest sizes tried.
RULES = {
    "modnet": (lambda x, a, b: trimap.modnet(x, a, b, 20), (20, 20)),
    "paddleseg": (trimap.paddleseg, (4, 14)),
    "gca": (trimap.gca, (29, 29)),
    "mmagic": (trimap.mmagic, (29, 29)),
    "mmagic_repeated": (lambda x, a, b: trimap.mmagic(x, 3, 4, a, b, 4), (5, 5)),
    "mmagic_distance": (trimap.mmagic_distance, (19,)),
    "dim": (lambda x, a, b: trimap.dim(x, a, b, 9), (9, 3)),
    "foamliu_keras": (trimap.foamliu_keras, (19,)),
    "foamliu_pytorch": (trimap.foamliu_pytorch, (4,)),
    "bgmv2": (trimap.bgmv2, (10,)),
}
TOGETHER = {
    name: jax.jit(jax.vmap(rule, (None, *(0 for _ in most))))
    for name, (rule, most) in RULES.items()
}
# How much a known pixel may differ from alpha.
ROUNDED = {"modnet": 0.1, "paddleseg": 0.5 / 255, "gca": 1e-5, "bgmv2": 0.06}


def eroded(x, element, times=1):
    """Erodes the mask x [H, W] by an element, `times` times; pixels outside are ignored."""
    size, (height, width) = len(element), x.shape
    for _ in range(times):
        padded = np.pad(x, size, constant_values=True)
        corners = np.argwhere(element) + size - size // 2
        x = np.all([padded[i : i + height, j : j + width] for i, j in corners], axis=0)
    return x


def within(x, distance):
    """Returns where the nearest pixel of the mask x [H, W] is at most `distance` away."""
    if not x.any():
        return x
    return ndimage.distance_transform_edt(~x) <= distance


def plain(name, alpha, *sizes):
    """Applies the rule `name` to alpha [H, W] by loops on the host, as its source defines it."""
    size, (full, empty) = sizes[0], (alpha == 1, alpha == 0)
    soft = ~full & ~empty
    if name == "modnet":
        foreground = ndimage.grey_erosion((alpha >= 0.9).astype(np.uint8), (sizes[1], sizes[1])) > 0
        background = ndimage.grey_dilation((alpha > 0).astype(np.uint8), (size, size)) == 0
    elif name == "paddleseg":
        foreground = eroded(255 * alpha > 254.5, ellipse(size), sizes[1])
        background = ~dilated(255 * alpha >= 0.5, ellipse(size), sizes[1])
    elif name == "gca":
        foreground = eroded(alpha >= 0.99999, ellipse(size))
        background = eroded(alpha <= 0.00001, ellipse(sizes[1]))
    elif name == "mmagic":
        foreground = eroded(full, ellipse(size))
        background = ~dilated(~empty, ellipse(sizes[1]))
    elif name == "mmagic_repeated":
        foreground = eroded(full, ellipse(3), size)
        background = ~dilated(~empty, ellipse(4), sizes[1])
    elif name == "mmagic_distance":
        foreground, background = (x & ~within(soft, size) for x in (full, empty))
    elif name == "dim":
        grown = dilated(soft, ellipse(size), sizes[1])
        foreground, background = full & ~grown, empty & ~grown
    elif name == "foamliu_keras":
        foreground, background = full, ~dilated(~empty, ellipse(3), size)
    elif name == "foamliu_pytorch":
        foreground, background = eroded(full, ellipse(size)), ~dilated(~empty, ellipse(size))
    else:
        unknown = dilated((alpha >= 0.06) & (alpha <= 0.96), ellipse(3), size)
        unknown = eroded(unknown, ellipse(3), size)
        foreground, background = ~unknown & (alpha > 0.96), ~unknown & (alpha < 0.06)
    return np.where(foreground, 1, np.where(background, 0, 0.5))


def draw_alpha(seed):
    """Draws float32 [33, 41] of bytes / 255: blobs with soft and with hard edges."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((33, 41)), rng.uniform(1, 5))
    alpha = np.clip(rng.uniform(1, 8) * noise / noise.std() + rng.uniform(-2, 3), 0, 1)
    i, j = rng.integers(0, (33, 41))
    alpha[i : i + 9, j : j + 9] = rng.integers(0, 2)
    return np.rint(255 * alpha).astype(np.float32) / 255


@pytest.mark.parametrize("name", RULES)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), seed=st.integers(0, 2**16))
def test_rule_equals_its_definition_for_each_sample_of_a_batch(name, data, seed):
    most = RULES[name][1]
    sizes = np.array([data.draw(st.integers(1, x)) for x in most])
    # The same alpha, with each size larger by one in turn.
    batch = np.minimum([sizes, *(sizes + np.eye(len(most), dtype=int))], most)
    alpha = draw_alpha(seed)
    made = np.asarray(TOGETHER[name](alpha[..., None], *batch.T))[..., 0]
    for result, row in zip(made, batch, strict=True):
        np.testing.assert_array_equal(result, plain(name, alpha, *row))
        known = result != 0.5
        assert np.all(np.abs(result - alpha)[known] <= ROUNDED.get(name, 0))
        assert np.all((result == 0.5) >= (made[0] == 0.5))  # larger sizes leave fewer known


def in_our_codes(golden):
    """Converts a trimap of bytes to 0, 0.5 and 1."""
    return np.where(golden == 128, 0.5, golden / 255)


@pytest.mark.parametrize(
    ("key", "rule"),
    {
        "mmagic_e7_d12": lambda x: trimap.mmagic(x, 7, 12),
        "mmagic_dist9": lambda x: trimap.mmagic_distance(x, 9),
        "gca_fg5_bg10": lambda x: trimap.gca(x, 5, 10),
        "paddle_train_k3_i8": lambda x: trimap.paddleseg(x, 3, 8),
        "paddle_eval": lambda x: trimap.paddleseg(x, 25, largest=25),
        "gfm_trimap25": trimap.gfm,
        "gfm_dilate50": trimap.gfm_subject,
        "gfm_erode50": trimap.gfm_foreground,
        "foamliu_keras_i6": lambda x: trimap.foamliu_keras(x, 6),
    }.items(),
)
def test_rule_equals_official(key, rule):
    alpha = TRIMAPS["alpha"][..., None].astype(np.float32) / 255
    np.testing.assert_array_equal(jax.jit(rule)(alpha)[..., 0], in_our_codes(TRIMAPS[key]))


def test_modnet_equals_the_authors_recipe():
    alpha = TRIMAPS["alpha"][..., None].astype(np.float32) / 255
    ours = jax.jit(lambda x: trimap.modnet(x, 13, 16, 20))(alpha)
    np.testing.assert_array_equal(2 * ours[..., 0], TRIMAPS["modnet_train_d13_e16"])


def test_band_of_soc_equals_official():
    golden = TRIMAPS["modnet_soc_band_side14"]
    region = (TRIMAPS["alpha"] / np.float32(255) > 0.1)[..., None].astype(np.float32)
    band = jax.jit(lambda x: dilate(x, 14, 14) != erode(x, 14, 14))(region)
    np.testing.assert_array_equal(band[..., 0], golden)
    # SOC takes sides divisible by 16; the mean of these sides gives the same width.
    alpha = TRIMAPS["alpha"][None, :256, :320, None].astype(np.float32) / 255
    band = jax.jit(soc.boundary_mask)(jnp.ones((1, 16, 20, 1)), alpha)[0, ..., 0]
    np.testing.assert_array_equal(band[:-14, :-14], golden[: 256 - 14, : 320 - 14])


@pytest.mark.parametrize(("size", "times"), [(k, n) for k in (2, 3, 4) for n in (5, 9, 14)])
def test_paddleseg_equals_official(size, times):
    alpha = PADDLE["alpha"][..., None].astype(np.float32) / 255
    ours = jax.jit(trimap.paddleseg)(alpha, size, times)[..., 0]
    np.testing.assert_array_equal(ours, in_our_codes(PADDLE[f"trimap_k{size}_i{times}"]))


@pytest.mark.parametrize(
    "rule, argument",
    [
        (lambda x: trimap.gca(x, 30, 3), "size"),
        (lambda x: trimap.gca(x, 3, 0), "size"),
        (lambda x: trimap.mmagic_distance(x, 20), "distance"),
        (lambda x: trimap.modnet(x, 3, 5, 4), "size"),
    ],
)
def test_size_above_the_largest_is_an_error(rule, argument):
    with pytest.raises(ValueError, match=f"{argument} must be from 1 to .*larger `largest`"):
        rule(np.zeros((4, 4, 1), np.float32))


@pytest.mark.parametrize("distance", [0, 2.5])
def test_masks_make_a_trimap_by_exact_distances(distance):
    rng = np.random.default_rng(0)
    foreground = ndimage.gaussian_filter(rng.standard_normal((30, 40)), 4) > 0.02
    background = ~foreground & (rng.random((30, 40)) > 0.02)
    ours = trimap.from_masks(foreground, background, distance)
    sets = [~within(~x, distance) for x in (foreground, background)]
    expected = np.where(sets[0], 1, np.where(sets[1], 0, 0.5))
    assert ours.dtype == np.float32 and set(np.unique(ours)) == {0, 0.5, 1}
    np.testing.assert_array_equal(ours, expected)


def test_a_mask_of_all_pixels_leaves_none_unknown():
    everywhere = np.ones((4, 5), bool)
    assert np.all(trimap.from_masks(everywhere, ~everywhere, 3) == 1)
    assert np.all(trimap.from_masks(~everywhere, everywhere, 3) == 0)


def test_bytes_and_floats_are_quantised_at_thirds():
    codes = np.arange(256, dtype=np.uint8)[None]
    expected = np.repeat(np.float32([0, 0.5, 1]), [85, 85, 86])[None]
    for values in (codes, codes / 255, codes / np.float32(255)):
        ours = trimap.quantise(values)
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(
        trimap.to_bytes(expected), np.repeat(np.uint8([0, 128, 255]), [85, 85, 86])[None]
    )
