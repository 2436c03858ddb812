"""JPEG on the device against libjpeg, which Pillow uses."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from matting_jax.image.jpeg import recompress
from tests.goldens import synth

compiled = jax.jit(recompress)


def through_pillow(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file)).astype(int)


@pytest.mark.parametrize("quality", [10, 50, 70, 85, 94, 100])
def test_recompressed_images_equal_libjpeg(quality):
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8))
    smooth = np.asarray(coarse.resize((96, 64), Image.Resampling.BICUBIC))
    noisy = np.rint(255 * synth.image(64, 96, 3, 1, 3)[0]).astype(np.uint8)
    grey = np.repeat(smooth[..., :1], 3, axis=-1)
    for image in (smooth, noisy, grey):
        theirs = through_pillow(image, quality)
        ours = np.rint(255 * compiled(image / np.float32(255), quality)).astype(int)
        # A coefficient near the middle of two steps may be rounded to either.
        bound = 0.25 * np.abs(theirs - image).mean() + 0.15
        assert np.abs(ours - theirs).mean() <= bound


def test_quality_may_differ_between_samples():
    images = synth.image(64, 96, 3, 2, 0)
    both = jax.jit(jax.vmap(recompress))(images, np.array([70, 90]))
    for i, quality in enumerate((70, 90)):
        np.testing.assert_allclose(both[i], compiled(images[i], quality), atol=1e-6)


def test_constant_colours_are_kept_up_to_rounding():
    for colour in ([200, 30, 90], [0, 0, 0], [255, 255, 255]):
        image = np.broadcast_to(np.float32(colour) / 255, (64, 96, 3))
        assert np.abs(255 * compiled(image, 95) - np.array(colour)).max() <= 2.01


def test_sides_must_be_multiples_of_16():
    with pytest.raises(ValueError, match="multiples of 16, got 24x32"):
        recompress(jnp.zeros((24, 32, 3)), 90)
