"""Denoised copies of the training images, cropped as the images in the same batch."""

import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data.estimated import denoise
from matting_jax.data.pipeline import train_batches
from tests.data.groups import crop_group, make_copies

RULES = {
    "rescale": dict(size=32, rescale=(24, 48), around="unknown"),
    "windows": dict(size=32, windows=(32, 40, 64), around="unknown"),
}


@pytest.fixture
def folders_config(config, photos, backgrounds):
    """A config of folders of images with colours from 50 to 249."""
    for path in [*photos.glob("image/*"), *backgrounds.rglob("*.png")]:
        width, height = Image.open(path).size
        pixels = np.random.default_rng(ord(path.stem[0])).integers(50, 250, (height, width, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    config.data.train.foregrounds, config.data.train.backgrounds = str(photos), str(backgrounds)
    return config


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("keep", [False, True])
def test_copies_are_cropped_alike(folders_config, photos, backgrounds, rule, keep):
    make_copies(photos / "image")
    make_copies(backgrounds)
    folders_config.data.crop, folders_config.data.keep_decoded = crop_group(**RULES[rule]), keep
    source = data.train_source(folders_config, denoised=True)
    (batch,) = train_batches(source, folders_config, 0, 1)
    for part in ("foreground", "background"):
        image, copy = (batch[name].astype(int) for name in (part, f"{part}_denoised"))
        # Colours under alpha 0 may be padding.
        seen = (batch["alpha"][..., 0] > 0) | (part == "background")
        assert np.abs((image - copy)[seen] - 50).max() <= 1
    (plain,) = train_batches(data.train_source(folders_config), folders_config, 0, 1)
    assert plain.keys() == {"foreground", "alpha", "background", "index"}
    for name, array in plain.items():
        np.testing.assert_array_equal(array, batch[name])


def test_a_second_foreground_has_its_copy(folders_config, photos, backgrounds):
    make_copies(photos / "image")
    make_copies(backgrounds)
    folders_config.data.train.combine = 0.5
    folders_config.data.crop = crop_group(
        size=32,
        around="unknown",
        affine=dict(
            rotation=30.0,
            scale=(0.8, 1.25),
            shear=10.0,
            flip=0.5,
            square=0.0,
            square_size=32,
        ),
    )
    (batch,) = train_batches(data.train_source(folders_config, denoised=True), folders_config, 0, 1)
    for part, alpha in (("foreground", "alpha"), ("foreground2", "alpha2")):
        image, copy = (batch[name].astype(int) for name in (part, f"{part}_denoised"))
        seen = batch[alpha][..., 0] > 0
        assert seen.any() and np.all((image - copy)[seen] == 50)


def test_denoised_copies_have_the_fixed_backgrounds(folders_config, photos, backgrounds):
    make_copies(photos / "image")
    make_copies(backgrounds)
    folders_config.data.train.fixed_backgrounds = 2
    source = data.train_source(folders_config, denoised=True)
    np.testing.assert_array_equal(source.denoised.fixed, source.fixed)
    assert source.fixed.shape == (5, 2)


def test_colours_of_copies_are_estimated_as_those_of_the_photos(
    folders_config, photos, backgrounds
):
    make_copies(photos / "image")
    make_copies(backgrounds)
    folders_config.data.foreground_colours = "estimate"
    source = data.train_source(folders_config, denoised=True)
    (colours, alpha), (quiet, same) = source.foregrounds[0], source.denoised.foregrounds[0]
    np.testing.assert_array_equal(alpha, same)
    difference = colours.astype(int) - quiet
    assert np.median(difference) == 50 and np.abs(difference[alpha == 255] - 50).max() <= 1


def test_error_for_missing_copies_contains_the_command(folders_config, plates, photos, backgrounds):
    with pytest.raises(ValueError, match=rf"foregrounds: 5 of 5 .*denoise {photos}/image, or set"):
        data.train_source(folders_config, denoised=True)
    make_copies(photos / "image")
    with pytest.raises(ValueError, match=rf"3 of 3 images .*_denoise/0.png: .* {backgrounds}, or"):
        data.train_source(folders_config, denoised=True)
    make_copies(backgrounds)
    Image.new("RGB", (4, 4)).save(photos / "image_denoise" / "b.png")
    with pytest.raises(
        ValueError, match=r"image_denoise/b.png and .*image/b.png differ in size: delete the first"
    ):
        data.train_source(folders_config, denoised=True)
    (photos / "image_denoise" / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="foregrounds: .*image_denoise/b.png"):
        data.train_source(folders_config, denoised=True)
    folders_config.data.train.foregrounds = ""
    with pytest.raises(ValueError, match="the data set tiny_plates has no denoised copies"):
        data.train_source(folders_config, plates[0], denoised=True)


def test_training_finds_the_copies_of_the_command(
    folders_config, photos, backgrounds, monkeypatch, capsys
):
    pytest.importorskip("skimage")
    shutil.move(photos / "image" / "a.png", photos / "image" / "ä.png")
    shutil.move(photos / "alpha" / "a.png", photos / "alpha" / "ä.png")
    monkeypatch.chdir(photos / "image")
    assert denoise.main([".", "--workers", "1"]) == 0
    assert denoise.main([str(backgrounds), "--workers", "1"]) == 0
    source = data.train_source(folders_config, denoised=True)
    pair = np.asarray(Image.open(photos / "image" / "b.png"))
    np.testing.assert_array_equal(source.denoised.foregrounds[0][0], denoise.denoise(pair))
