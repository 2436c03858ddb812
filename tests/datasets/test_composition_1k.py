"""Composition-1k is prepared from the owners' layout and equals their composites."""

import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from tests.datasets.layouts import config_of
from tests.datasets.layouts.composition_1k import TEST, TRAIN, draw
from tests.helpers import merge_by_hand, save_image


@pytest.fixture
def config(tmp_path):
    """Returns a config of both parts with files in TFDS's manual folder."""
    draw(tmp_path / "downloads" / "manual")
    backgrounds = tmp_path / "backgrounds"
    save_image(np.zeros((30, 40, 3), np.uint8), backgrounds, "black.png")
    train = dict(dataset="composition_1k/foregrounds", backgrounds=str(backgrounds))
    test = dict(dataset="composition_1k/composites", trimap_distance=3)
    return config_of(tmp_path, dict(windows=(32,), around="unknown"), train, test)


def test_foregrounds_are_the_files_in_the_order_of_the_list(config, tmp_path):
    source = data.train_source(config)
    assert source.description.startswith("4 foregrounds, 1 backgrounds, composition_1k/")
    folder = tmp_path / "downloads/manual/Combined_Dataset/Training_set"
    pairs = iter(source.foregrounds)
    for part, names in TRAIN.items():
        for name in names:
            colours, alpha = next(pairs)
            for kind, ours in {"fg": colours, "alpha": alpha}.items():
                with Image.open(folder / part / kind / f"{name}.jpg") as image:
                    np.testing.assert_array_equal(ours, np.asarray(image))


def test_composites_equal_a_merge_by_hand_in_the_order_of_the_lists(config, tmp_path):
    images = data.evaluation_images(config)
    assert len(images) == 40
    manual = tmp_path / "downloads/manual"
    folder = manual / "Combined_Dataset/Test_set/Adobe-licensed images"
    for number, image in enumerate(images):
        name, i = list(TEST)[number // 20], number % 20
        assert image.name == f"{name}_{i}"
        foreground = np.asarray(Image.open(folder / "fg" / f"{name}.png"))
        alpha = np.asarray(Image.open(folder / "alpha" / f"{name}.png").convert("L"))
        np.testing.assert_array_equal(image.alpha, alpha)
        assert (image.trimap == (0 if 6 * i < 85 else 128)).all()
        background = Image.open(manual / f"VOCdevkit/VOC2012/JPEGImages/2007_{number:06d}.jpg")
        by_hand = merge_by_hand(foreground, alpha, background)
        np.testing.assert_array_equal(image.image, by_hand)


def test_all_missing_files_are_listed_with_instructions(config, tmp_path):
    manual = tmp_path / "downloads/manual"
    test, training = (manual / f"Combined_Dataset/{part}_set" for part in ("Test", "Training"))
    lost = [
        test / "Adobe-licensed images/fg/dog (1).png",
        test / "Adobe-licensed images/trimaps/dog (1)_7.png",
        test / "Adobe-licensed images/trimaps/lace-1.2_1920_19.png",
        manual / "VOCdevkit/VOC2012/JPEGImages/2007_000031.jpg",
    ]
    for path in lost:
        path.unlink()
    with pytest.raises(ValueError, match="4 files or folders") as error:
        data.evaluation_images(config)
    assert all(str(path) in str(error.value) for path in lost)
    shutil.rmtree(manual / "VOCdevkit/VOC2012/JPEGImages")
    (test / "test_bg_names.txt").unlink()
    with pytest.raises(ValueError, match="host.robots.ox.ac.uk.*VOCtrainval_11-May-2012") as error:
        data.evaluation_images(config)
    assert "JPEGImages\n" in str(error.value) and "test_bg_names.txt" in str(error.value)
    (training / "Other/alpha/GT01.jpg").unlink()
    with pytest.raises(ValueError, match="(?s)1 files or folders.*deepimagematting") as error:
        data.train_source(config)
    assert "Adobe-licensed images/alpha/GT01.jpg or in" in str(error.value)
    assert "Other/alpha" in str(error.value)
    shutil.rmtree(training / "Other")
    with pytest.raises(ValueError, match="2 files or folders") as error:
        data.train_source(config)
    assert f"{training / 'Other/fg'}\n" in str(error.value)
    shutil.rmtree(manual)
    with pytest.raises(ValueError, match="manual does not exist or is empty.*deepimagematting"):
        data.train_source(config)


def test_files_that_do_not_match_are_an_error(config, tmp_path):
    test = tmp_path / "downloads/manual/Combined_Dataset/Test_set"
    trimap = test / "Adobe-licensed images/trimaps/dog (1)_3.png"
    Image.new("L", (30, 24)).save(trimap)
    with pytest.raises(ValueError, match="26 x 40 pixels, but .*_3.png has 30 x 24"):
        data.evaluation_images(config)
    names = test / "test_bg_names.txt"
    names.write_text("\n".join(names.read_text().split("\n")[:-1]))
    with pytest.raises(ValueError, match="lists 39 backgrounds for 2 foregrounds"):
        data.evaluation_images(config)


def test_unknown_config_is_an_error_with_the_valid_ones(config):
    config.data.test.dataset = "composition_1k/composite"
    with pytest.raises(ValueError, match="did you mean 'composites'"):
        data.evaluation_images(config)
