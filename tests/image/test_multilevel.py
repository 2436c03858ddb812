"""Multi-level colours are those of pymatting, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.image.foreground import multilevel
from matting_jax.image.multilevel import estimate_layers
from tests.helpers import GOLDENS, noise

GOLDEN = np.load(GOLDENS / "multilevel_lemur.npz")


def test_layers_of_a_photo_equal_pymatting():
    image, alpha = GOLDEN["image"], GOLDEN["alpha"]
    foreground, background = estimate_layers(image, alpha)
    np.testing.assert_array_equal(foreground, GOLDEN["foreground"])
    np.testing.assert_array_equal(background, GOLDEN["background"])
    rounded = np.rint(255 * GOLDEN["foreground"]).astype(np.uint8)
    expected = np.where(alpha[..., None] == 255, image, rounded)
    np.testing.assert_array_equal(multilevel(image, alpha), expected)


def test_photo_is_unchanged_and_its_memory_layout_does_not_matter():
    image, alpha = GOLDEN["image"], GOLDEN["alpha"]
    expected = multilevel(image, alpha)
    for changed in (np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]):
        given = changed(image), changed(alpha)
        for x in given:
            x.flags.writeable = False
        np.testing.assert_array_equal(multilevel(*given), expected)
        np.testing.assert_array_equal(given[0], image)


@given(
    height=st.integers(1, 40),
    width=st.integers(2, 40),
    background=st.integers(0, 255),
    foreground=st.integers(0, 255),
)
@settings(deadline=None, max_examples=25)
def test_layers_of_one_colour_each_compose_to_the_photo(height, width, background, foreground):
    alpha = np.linspace(0, 1, width, dtype=np.float32) * np.ones((height, 1), np.float32)
    colours = np.float32([foreground, 7, 200]), np.float32([background, 90, 30])
    image = alpha[..., None] * colours[0] + (1 - alpha[..., None]) * colours[1]
    image, alpha = np.rint(image).astype(np.uint8), np.rint(255 * alpha).astype(np.uint8)
    layers = estimate_layers(image, alpha)
    assert all(0 <= x.min() and x.max() <= 1 for x in layers)
    opacity = alpha[..., None] / 255
    composed = opacity * layers[0] + (1 - opacity) * layers[1]
    np.testing.assert_allclose(255 * composed, image, rtol=0, atol=1.5)


@pytest.mark.slow  # importing pymatting compiles it
@pytest.mark.parametrize("size", [(2, 2), (1, 30), (70, 3), (33, 31), (301, 200)])
def test_layers_of_noise_equal_pymatting(size):
    pymatting = pytest.importorskip("pymatting")
    image = noise(0, *size, 3)
    alphas = (noise(1, *size), noise(1, *size) // 128 * np.uint8(255), np.zeros(size, np.uint8))
    for alpha in alphas:
        expected = pymatting.estimate_foreground_ml(
            np.divide(image, 255, dtype=np.float32),
            np.divide(alpha, 255, dtype=np.float32),
            return_background=True,
        )
        for ours, layer in zip(estimate_layers(image, alpha), expected, strict=True):
            np.testing.assert_array_equal(ours, layer)
