"""Contextual attention against its definition by patches, and its memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.models.layers.attention import (
    GuidedContextualAttention,
    contextual_attention,
    mask_scales,
)
from matting_jax.models.layers.norms import BatchNorm
from tests.helpers import patch_weights, reflected, windows


def attention_by_patches(guide, values, unknown):
    """Computes `contextual_attention` of one sample patch by patch."""
    height, width, _ = guide.shape
    near, padded = windows(height, width, 4, 2), reflected(values)
    patches = padded[near]
    written = patch_weights(guide, unknown).T @ patches.reshape(height * width, -1)
    return jnp.zeros_like(padded).at[near].add(written.reshape(patches.shape))[1:-1, 1:-1] / 4


def sample(height, width, mask, seed=0):
    """Draws guide [h, w, 5], values [2h, 2w, 3] and unknown [h, w] in float64."""
    rng = np.random.default_rng([seed, height, width])
    unknown = {"mixed": 0.3, "all": 2.0, "none": -1.0}[mask] > rng.random((height, width))
    guide = 0.5 * rng.standard_normal((height, width, 5))
    return guide, rng.standard_normal((2 * height, 2 * width, 3)), unknown.astype(np.float64)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(12, 10, 17), (7, 9, 4), (6, 6, 7), (6, 8, 3), (2, 3, 1)]
)
def test_attention_equals_its_definition_by_patches_with_gradients(height, width, tile):
    with jax.enable_x64(True):
        samples = [sample(height, width, mask) for mask in ("mixed", "all", "none")]
        guides, values, unknown = (np.stack(x) for x in zip(*samples, strict=True))
        cotangent = np.cos(np.arange(values.size)).reshape(values.shape)

        @jax.jit
        def ours(guides, values):
            y, pull_back = jax.vjp(
                lambda g, v: contextual_attention(g, v, unknown, tile), guides, values
            )
            return y, *pull_back(cotangent)

        @jax.jit
        def plain(guides, values):
            def attend(g, v):
                return jnp.stack([attention_by_patches(g[i], v[i], unknown[i]) for i in range(3)])

            y, pull_back = jax.vjp(attend, guides, values)
            return y, *pull_back(cotangent)

        for found, expected in zip(ours(guides, values), plain(guides, values), strict=True):
            for one, other in zip(found, expected, strict=True):
                assert relative(one, other) < 1e-9


def attention_by_cosine(guide, values, unknown):
    """Computes the paper's attention of one sample in NumPy, one pair of positions at a time."""
    height, width, _ = guide.shape
    edges = ((1, 1), (1, 1), (0, 0))
    guide, values = (np.pad(x, edges, mode="reflect") for x in (guide, values))
    near = np.pad(unknown, 1, mode="reflect")
    places = list(np.ndindex(height, width))
    ratio = np.sqrt(unknown.mean() / (1 - unknown.mean()))
    of_unknown, of_known = np.clip([ratio, 1 / ratio], 0.1, 10)
    result = np.zeros_like(values)
    for y, x in places:
        query, scores = guide[y : y + 3, x : x + 3], []
        for row, column in places:
            key = guide[row : row + 3, column : column + 3]
            cosine = np.sum(query * key) / (np.linalg.norm(query) * np.linalg.norm(key))
            is_unknown = near[row : row + 3, column : column + 3].any()
            penalty = 1e4 if is_unknown and (row, column) == (y, x) else 0
            scores.append(cosine * (of_unknown if is_unknown else of_known) - penalty)
        weights = np.exp(np.array(scores) - max(scores))
        for weight, (row, column) in zip(weights / weights.sum(), places, strict=True):
            patch = values[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            result[2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += weight * patch / 4
    return result[1:-1, 1:-1]


@pytest.mark.parametrize("tile", [17, 2])
def test_both_compares_by_the_cosine_of_the_paper(tile):
    guide, values, unknown = sample(3, 4, "mixed")
    guide *= np.linspace(0.2, 3, 12).reshape(3, 4, 1)  # lengths of patches differ
    assert 0 < unknown.mean() < 1
    weights = np.cos(np.arange(values.size)).reshape(values.shape)
    rng = np.random.default_rng(1)
    steps = [1e-5 * rng.standard_normal(x.shape) for x in (guide, values)]

    def total(sign):
        moved = (x + sign * step for x, step in zip((guide, values), steps, strict=True))
        return np.sum(weights * attention_by_cosine(*moved, unknown))

    with jax.enable_x64(True):

        @partial(jax.jit, static_argnames="normalise")
        def ours(guide, values, normalise):
            return contextual_attention(
                guide[None], values[None], unknown[None], tile, normalise=normalise
            )[0]

        found, keys = (np.asarray(ours(guide, values, x)) for x in ("both", "keys"))
        gradients = jax.grad(lambda g, v: jnp.sum(weights * ours(g, v, "both")), (0, 1))(
            guide, values
        )
        gradients = [np.asarray(x) for x in gradients]
    np.testing.assert_allclose(found, attention_by_cosine(guide, values, unknown), atol=1e-12)
    assert np.abs(found - keys).max() > 0.01
    change = sum(np.sum(g * step) for g, step in zip(gradients, steps, strict=True))
    assert change == pytest.approx((total(1) - total(-1)) / 2, rel=1e-6)


def test_unknown_normalisation_is_an_error():
    guide, values, unknown = (x[None] for x in sample(2, 2, "mixed"))
    with pytest.raises(ValueError, match="unknown normalise .* 'queries'.*valid: keys, both"):
        contextual_attention(guide, values, unknown, normalise="queries")


@pytest.mark.parametrize("share, expected", [(0.5, 1), (0.2, 0.5), (1, 10), (0, 0.1), (0.995, 10)])
def test_scores_of_the_less_frequent_keys_are_scaled_down(share, expected):
    unknown = np.arange(200) < share * 200
    of_unknown, of_known = mask_scales(unknown.astype(np.float32).reshape(10, 20))
    assert float(of_unknown) == pytest.approx(expected)
    assert float(of_known) == pytest.approx(1 / expected)


@pytest.mark.parametrize("gradient", [False, True])
def test_memory_is_linear_in_the_number_of_pixels(gradient):
    def scratch(side):
        shapes = (1, side, side, 8), (1, 2 * side, 2 * side, 16), (1, side, side)
        guide, values, unknown = (jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes)

        def function(guide, values, unknown):
            return jnp.sum(contextual_attention(guide, values, unknown) ** 2)

        if gradient:
            function = jax.grad(function, argnums=(0, 1))
        compiled = jax.jit(function).lower(guide, values, unknown).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert scratch(128) < 5 * scratch(64)


def test_without_a_guide_the_features_are_the_guide():
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 1, 8, 12, 6)).astype(np.float32)
    unknown = (rng.random((1, 8, 12)) < 0.5).astype(np.float32)
    module = GuidedContextualAttention(partial(BatchNorm, use_running_average=True))
    variables = module.init(jax.random.key(0), x, None, unknown)
    without = module.apply(variables, x, None, unknown)
    np.testing.assert_array_equal(without, module.apply(variables, x, x, unknown))
    assert np.any(without != module.apply(variables, x, other, unknown))
    # At initialisation it is nearly the identity.
    np.testing.assert_allclose(without, x, atol=0.01)
