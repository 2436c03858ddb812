"""Composition-1k is prepared as its owners merge it, from files laid out as they send them."""

import math
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from matting_jax import data

TRAIN = {"Adobe-licensed images": ["man_1", "smoke_00005"], "Other": ["GT01", "cat,_old"]}
TEST = {"lace-1.2_1920": (24, 30), "dog (1)": (40, 26)}
BACKGROUNDS = {"large": (70, 80), "small": (9, 14), "narrow": (60, 7)}


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def draw(folder):
    """The data set with few and small images."""

    def save(array, *place):
        path = folder.joinpath(*place)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)

    training, test = folder / "Combined_Dataset/Training_set", folder / "Combined_Dataset/Test_set"
    for part, names in TRAIN.items():
        for seed, name in enumerate(names):
            save(noise(seed, 20, 16, 3), training, part, "fg", f"{name}.jpg")
            save(noise(seed, 20, 16), training, part, "alpha", f"{name}.jpg")
    names = sum(TRAIN.values(), [])
    (training / "training_fg_names.txt").write_text("\n".join(f"{name}.jpg" for name in names))
    images, voc = test / "Adobe-licensed images", folder / "VOCdevkit/VOC2012/JPEGImages"
    backgrounds = [f"2007_{i:06d}" for i in range(40)]
    for seed, (name, size) in enumerate(TEST.items()):
        alpha = noise(10 + seed, *size)
        alpha[:5], alpha[5:10] = 0, 255
        save(noise(seed, *size, 3), images, "fg", f"{name}.png")
        save(np.repeat(alpha[..., None], 3, -1) if seed else alpha, images, "alpha", f"{name}.png")
        for i in range(20):
            save(np.full(size, 6 * i, np.uint8), images, "trimaps", f"{name}_{i}.png")
    for seed, name in enumerate(backgrounds):
        size = list(BACKGROUNDS.values())[seed % 3]
        save(noise(100 + seed, *size, 3), voc, f"{name}.jpg")
    (test / "test_fg_names.txt").write_text("".join(f"{name}.png\r\n" for name in TEST))
    (test / "test_bg_names.txt").write_text("\n".join(f"{name}.jpg" for name in backgrounds))
    return folder


def merged_by_hand(foreground, alpha, background):
    """Pixel by pixel, in Python's numbers."""
    height, width = alpha.shape
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        size = math.ceil(background.width * ratio), math.ceil(background.height * ratio)
        background = background.resize(size, Image.Resampling.BICUBIC)
    behind, merged = np.asarray(background), np.zeros_like(foreground)
    for y in range(height):
        for x in range(width):
            a = int(alpha[y, x]) / 255
            for c in range(3):
                value = a * int(foreground[y, x, c]) + (1 - a) * int(behind[y, x, c])
                merged[y, x, c] = int(value)
    return merged


@pytest.fixture
def config(tmp_path):
    """A config of both parts, whose files lie in the folder that TFDS looks into."""
    draw(tmp_path / "downloads" / "manual")
    (tmp_path / "backgrounds").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "backgrounds" / "grey.png")
    crop = dict(size=32, windows=(32,), around="unknown")
    train = dict(
        dataset="composition_1k/foregrounds",
        split="train",
        foregrounds="",
        images="",
        backgrounds=str(tmp_path / "backgrounds"),
    )
    test = dict(dataset="composition_1k/composites", split="test", images="", trimap_distance=3)
    group = dict(
        train=train,
        test=test,
        directory=str(tmp_path),
        cache=str(tmp_path / "cache"),
        skip_bad=False,
        workers=2,
        keep_decoded=False,
        crop=crop,
    )
    return ConfigDict(dict(data=group))


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


def test_composites_are_merged_as_by_hand_and_in_order(config, tmp_path):
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
        by_hand = merged_by_hand(foreground, alpha, background)
        np.testing.assert_array_equal(image.image, by_hand)


def test_everything_that_is_missing_is_named_with_where_to_get_it(config, tmp_path):
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


def test_files_that_do_not_fit_together_are_named(config, tmp_path):
    test = tmp_path / "downloads/manual/Combined_Dataset/Test_set"
    trimap = test / "Adobe-licensed images/trimaps/dog (1)_3.png"
    Image.new("L", (30, 24)).save(trimap)
    with pytest.raises(ValueError, match="26 x 40 pixels, but .*_3.png has 30 x 24"):
        data.evaluation_images(config)
    names = test / "test_bg_names.txt"
    names.write_text("\n".join(names.read_text().split("\n")[:-1]))
    with pytest.raises(ValueError, match="names 39 backgrounds for 2 foregrounds"):
        data.evaluation_images(config)


def test_unknown_part_is_an_error_with_the_valid_ones(config):
    config.data.test.dataset = "composition_1k/composite"
    with pytest.raises(ValueError, match="did you mean 'composites'"):
        data.evaluation_images(config)
