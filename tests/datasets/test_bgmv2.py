"""BackgroundMattingV2's data sets are prepared from the owners' folder layout."""

import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from tests.datasets.layouts import config_of
from tests.datasets.layouts.bgmv2 import BACKGROUNDS, FRAMES, PHOTOS, draw


@pytest.fixture
def config(tmp_path):
    """Returns a config that trains and tests on files in TFDS's manual folder."""
    draw(tmp_path / "downloads" / "manual")
    train = dict(
        dataset="videomatte240k/sd",
        background_dataset="backgrounds",
        background_split="train",
    )
    test = dict(
        dataset="photomatte85",
        background_dataset="backgrounds",
        background_split="valid",
    )
    return config_of(tmp_path, dict(rescale=(32, 32)), train, test)


def opened(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_training_pairs_frames_with_the_backgrounds_of_a_folder(config, tmp_path):
    source = data.train_source(config)
    counts = "3 foregrounds, 2 backgrounds"
    assert source.description == f"{counts}, videomatte240k/sd/train, backgrounds/train"
    manual = tmp_path / "downloads/manual"
    folder = manual / "VideoMatte240K_JPEG_SD/train"
    for name, (colours, alpha) in zip(sorted(FRAMES["train"]), source.foregrounds, strict=True):
        np.testing.assert_array_equal(colours, opened(folder / "fgr" / f"{name}.jpg"))
        np.testing.assert_array_equal(alpha, opened(folder / "pha" / f"{name}.jpg"))
    for name, image in zip(sorted(BACKGROUNDS["train"]), source.backgrounds, strict=True):
        np.testing.assert_array_equal(image, opened(manual / "Backgrounds/train" / name))


def test_test_composites_come_with_their_background(config, tmp_path):
    images = data.evaluation_images(config)
    assert [image.name for image in images] == sorted(PHOTOS)
    manual = tmp_path / "downloads/manual"
    for image, behind in zip(images, BACKGROUNDS["valid"], strict=True):
        rgba = opened(manual / "PhotoMatte85" / f"{image.name}.png")
        np.testing.assert_array_equal(image.alpha, rgba[..., 3])
        background = opened(manual / "Backgrounds/valid" / behind)
        if background.shape[0] >= 20:  # smaller ones are enlarged to cover the photo
            np.testing.assert_array_equal(image.background, background[:20, :16])
        weight = rgba[..., 3:] / 255
        expected = weight * rgba[..., :3] + (1 - weight) * image.background
        np.testing.assert_allclose(image.image, expected, atol=0.51)


def test_few_backgrounds_are_cycled_over_test_frames(config):
    config.data.test.dataset = "videomatte240k/sd"
    shutil.rmtree(config.data.directory + "/downloads/manual/Backgrounds/valid/")
    config.data.test.background_split = "train"
    images = data.evaluation_images(config)
    assert [image.name for image in images] == FRAMES["test"]
    config.data.test.split = "train"
    first, second, third = (image.background for image in data.evaluation_images(config))
    np.testing.assert_array_equal(first, third)
    assert not np.array_equal(first, second)


def test_all_missing_files_are_listed_with_instructions(config, tmp_path):
    manual = tmp_path / "downloads/manual"
    frames = manual / "VideoMatte240K_JPEG_SD"
    (frames / "train/pha/0001/00001.jpg").unlink()
    (frames / "test/fgr/0100/00000.jpg").unlink()
    with pytest.raises(ValueError, match="videomatte240k lacks 2 files or folders") as error:
        data.train_source(config)
    assert f"{frames / 'train/pha/0001/00001.*'}\n" in str(error.value)
    assert f"{frames / 'test/fgr/0100/00000.*'}\n" in str(error.value)
    assert "background-matting-v2" in str(error.value)
    shutil.rmtree(frames / "test")
    with pytest.raises(ValueError, match="lacks 3 files(?s:.*)test/fgr\n.*test/pha\n"):
        data.train_source(config)
    config.data.train.dataset = "videomatte240k/hd"
    with pytest.raises(ValueError, match="1 files or folders:\n.*VideoMatte240K_JPEG_HD\n"):
        data.train_source(config)
    for path in (manual / "PhotoMatte85").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"photomatte85 lacks 1 files or folders:\n.*\*.png\n"):
        data.evaluation_images(config)
    Image.new("RGB", (9, 8)).save(manual / "PhotoMatte85" / "a.png")
    with pytest.raises(ValueError, match="a.png has no alpha"):
        data.evaluation_images(config)


def test_missing_backgrounds_are_an_error_with_instructions(config, tmp_path):
    folder = tmp_path / "downloads/manual/Backgrounds"
    shutil.rmtree(folder / "train")
    with pytest.raises(ValueError, match="Unknown split 'train'.*valid"):
        data.train_source(config)
    shutil.rmtree(tmp_path / "backgrounds")
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="backgrounds lacks 1 files(?s:.*)Backgrounds/train"):
        data.train_source(config)


def test_a_frame_and_alpha_of_different_sizes_are_an_error(config, tmp_path):
    path = tmp_path / "downloads/manual/VideoMatte240K_JPEG_SD/train/pha/0000/00007.jpg"
    Image.new("L", (9, 8)).save(path)
    with pytest.raises(ValueError, match="fgr/0000/00007.jpg has 32 x 18 pixels, but .* has 9 x 8"):
        data.train_source(config)
