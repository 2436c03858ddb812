"""Distinctions-646 is prepared from the owners' layout and equals their composites."""

import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from tests.datasets.layouts import config_of
from tests.datasets.layouts.distinctions_646 import TRAIN, draw, listed
from tests.helpers import merge_by_hand, save_image


@pytest.fixture
def config(tmp_path):
    """Returns a config of both parts with files in TFDS's manual folder."""
    draw(tmp_path / "downloads" / "manual")
    backgrounds = tmp_path / "backgrounds"
    save_image(np.zeros((30, 40, 3), np.uint8), backgrounds, "black.png")
    train = dict(dataset="distinctions_646/foregrounds", backgrounds=str(backgrounds))
    test = dict(dataset="distinctions_646/composites")
    return config_of(tmp_path, dict(windows=(32,), around="unknown"), train, test)


def test_foregrounds_are_the_files_of_both_folders(config, tmp_path):
    source = data.train_source(config)
    assert source.description.startswith("4 foregrounds, 1 backgrounds, distinctions_646/")
    folder = tmp_path / "downloads/manual/Distinctions-646/Train"
    for name, pair in zip(TRAIN, source.foregrounds, strict=True):
        for kind, ours in zip(("FG", "GT"), pair, strict=True):
            with Image.open(folder / kind / f"{name}.png") as image:
                np.testing.assert_array_equal(ours, np.asarray(image))


def test_composites_equal_a_merge_by_hand_in_the_order_of_the_lists(config, tmp_path):
    images = data.evaluation_images(config)
    assert [image.name for image in images] == [f"test_{number}" for number in range(60)]
    manual = tmp_path / "downloads/manual"
    for number in range(0, 60, 7):
        name = f"{listed()[number // 20]}.png"
        foreground, alpha = (
            np.asarray(Image.open(manual / "Distinctions-646/Test" / kind / name))
            for kind in ("FG", "GT")
        )
        background = Image.open(manual / f"VOCdevkit/VOC2012/JPEGImages/2008_{60 - number:06d}.jpg")
        np.testing.assert_array_equal(images[number].alpha, alpha)
        np.testing.assert_array_equal(
            images[number].image, merge_by_hand(foreground, alpha, background)
        )


def test_all_missing_files_are_listed_with_instructions(config, tmp_path):
    manual = tmp_path / "downloads/manual"
    train, test = (manual / f"Distinctions-646/{part}" for part in ("Train", "Test"))
    lost = [
        test / "FG/test_2.png",
        test / "GT/test_10.png",
        manual / "VOCdevkit/VOC2012/JPEGImages/2008_000031.jpg",
    ]
    for path in lost:
        path.unlink()
    with pytest.raises(ValueError, match="distinctions_646 lacks 3 files or folders") as error:
        data.evaluation_images(config)
    assert all(f"{path}\n" in str(error.value) for path in lost)
    shutil.rmtree(manual / "VOCdevkit/VOC2012/JPEGImages")
    (test / "bg_test.txt").unlink()
    with pytest.raises(ValueError, match="VOCtrainval_11-May-2012") as error:
        data.evaluation_images(config)
    assert "JPEGImages\n" in str(error.value) and f"{test / 'bg_test.txt'}\n" in str(error.value)
    lost = [train / "FG/GT01.png", train / "GT/h_9.png"]
    for path in lost:
        path.unlink()
    with pytest.raises(ValueError, match="(?s)2 files or folders.*HAttMatting") as error:
        data.train_source(config)
    assert all(f"{path}\n" in str(error.value) for path in lost)
    for path in train.glob("*/*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"1 files or folders:\n.*FG/\*.png"):
        data.train_source(config)
    shutil.rmtree(train / "GT")
    with pytest.raises(ValueError, match="1 files or folders:\n.*Train/GT\n"):
        data.train_source(config)
    shutil.rmtree(manual)
    with pytest.raises(ValueError, match="manual does not exist or is empty.*HAttMatting"):
        data.train_source(config)


def test_files_that_do_not_match_are_an_error(config, tmp_path):
    own = tmp_path / "downloads/manual/Distinctions-646"
    Image.new("L", (9, 8)).save(own / "Train/GT/GT01.png")
    with pytest.raises(ValueError, match="FG/GT01.png has 16 x 20 pixels, but .* has 9 x 8"):
        data.train_source(config)
    Image.new("L", (9, 8)).save(own / "Test/GT/test_2.png")
    with pytest.raises(ValueError, match="FG/test_2.png has 70 x 12 pixels, but .* has 9 x 8"):
        data.evaluation_images(config)
    names = own / "Test/bg_test.txt"
    names.write_text("\n".join(names.read_text().splitlines()[:-1]))
    with pytest.raises(ValueError, match="lists 59 .* for 3 foregrounds, but each needs 20"):
        data.evaluation_images(config)
