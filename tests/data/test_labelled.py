"""Photos with the class of each pixel: Cityscapes of TFDS, and folders."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.config import load_config
from matting_jax.data import train_batches
from tests.encoded import png_of
from tests.helpers import ROOT

SIZE = (128, 64)  # width and height of the photos


def draw_cityscapes(folder):
    """Writes the two archives of Cityscapes, with a few small photos.

    The grey value of each half of a photo is ten times the label id.
    """
    folder.mkdir(parents=True)
    with (
        zipfile.ZipFile(folder / "leftImg8bit_trainvaltest.zip", "w") as images,
        zipfile.ZipFile(folder / "gtFine_trainvaltest.zip", "w") as labels,
    ):
        for split, ids in {"train": (7, 8, 11, 12), "val": (24, 0), "test": (1,)}.items():
            for number, left in enumerate(ids):
                label = np.full(SIZE[::-1], left, np.uint8)
                label[:, SIZE[0] // 2 :] = 23
                name = f"{split}/aachen/aachen_{number:06d}_000019"
                photo = np.repeat(10 * label[..., None], 3, -1)
                images.writestr(f"leftImg8bit/{name}_leftImg8bit.png", png_of(photo))
                labels.writestr(f"gtFine/{name}_gtFine_labelIds.png", png_of(label))


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory):
    """A folder of data with the downloaded archives of Cityscapes."""
    folder = tmp_path_factory.mktemp("tfds")
    draw_cityscapes(folder / "downloads" / "manual")
    return folder


@pytest.fixture
def config(tmp_path):
    config = load_config(ROOT / "configs" / "bisenet_v2.py", "cityscapes")
    config.data.cache, config.batch_size = str(tmp_path / "cache"), 2
    config.data.crop.size, config.data.crop.width = 32, 96
    return config


def test_cityscapes_gives_wide_crops_with_its_19_classes(config, cityscapes):
    config.data.directory = str(cityscapes)
    source = data.train_source(config, labelled=True)
    assert source.description == "4 photos with classes, cityscapes/train"
    classes = {70: 0, 80: 1, 110: 2, 120: 3, 230: 10}
    seen = set()
    for batch in train_batches(source, config, 0, 8):
        assert batch["image"].shape == (2, 32, 96, 3) and batch["label"].shape == (2, 32, 96, 1)
        for image, label in zip(batch["image"], batch["label"], strict=True):
            for grey, number in classes.items():
                inside = image[..., 0] == grey
                assert (label[..., 0][inside] == number).all()
                seen |= {number} if inside.any() else set()
            assert (label[..., 0][image[..., 0] == 0] == 255).all()  # around the photo
    assert seen == set(classes.values())


def test_test_images_of_cityscapes_are_not_cropped(config, cityscapes):
    config.data.directory = str(cityscapes)
    images = data.evaluation_images(config, labelled=True)
    assert len(images) == 2
    halves = {tuple(image.label[0, [0, -1]]) for image in images}
    assert halves == {(11, 10), (255, 10)}
    assert all(image.image.shape == (*SIZE[::-1], 3) and image.alpha is None for image in images)


def test_error_contains_the_files_to_download_by_hand(config, tmp_path):
    config.data.directory = str(tmp_path)
    with pytest.raises(ValueError, match="cityscapes cannot be .*leftImg8bit_trainvaltest.zip"):
        data.train_source(config, labelled=True)


@pytest.fixture
def folder(tmp_path, config):
    """A folder of photos with two classes."""
    config.data.train.dataset = config.data.test.dataset = ""
    config.data.train.images = config.data.test.images = str(tmp_path / "street")
    config.model.num_classes = 2
    for part in ("image", "label"):
        (tmp_path / "street" / part).mkdir(parents=True)
    for i in range(2):
        label = np.full((40, 50), i, np.uint8)
        label[:10] = 255
        Image.fromarray(label).save(tmp_path / "street" / "label" / f"{i}.png")
        Image.new("RGB", (50, 40), (100, 7, 9)).save(tmp_path / "street" / "image" / f"{i}.jpg")
    return tmp_path / "street"


def test_folder_of_photos_and_labels_is_a_labelled_source(config, folder):
    source = data.train_source(config, labelled=True)
    assert source.description == f"2 photos with classes, {folder}"
    assert {int(np.unique(label)[0]) for _, label in source.pairs} == {0, 1}
    assert [np.unique(x.label).tolist() for x in data.evaluation_images(config, labelled=True)] == [
        [0, 255],
        [1, 255],
    ]
    (folder / "label" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"0.jpg: no file 0.\* in .*label"):
        data.train_source(config, labelled=True)


def test_error_for_an_invalid_class_contains_the_file(config, folder):
    Image.new("L", (50, 40), 2).save(folder / "label" / "1.png")
    source = data.train_source(config, labelled=True)
    with pytest.raises(ValueError, match="1.png: the label holds 2, but .*num_classes is 2"):
        list(train_batches(source, config, 0, 2))
    with pytest.raises(ValueError, match="1.png: the label holds 2"):
        list(data.evaluation_images(config, labelled=True))


def test_labelled_photos_and_others_need_their_own_crop_rule(config, folder):
    with pytest.raises(ValueError, match="data.crop.scales cannot crop photos: use"):
        data.train_source(config)
    config = load_config(ROOT / "configs" / "bisenet_v2.py", "")
    with pytest.raises(
        ValueError,
        match="rescale cannot crop photos with .*: use a .* with config.data.crop.scales",
    ):
        data.train_source(config, labelled=True)


def test_data_set_without_labels_raises(config, plates):
    config.data.train.dataset, config.data.directory = "tiny_plates", str(plates[1])
    with pytest.raises(ValueError, match="tiny_plates has .* but lacks image, label"):
        data.train_source(config, plates[0], labelled=True)
