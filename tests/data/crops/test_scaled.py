"""The crops of BiSeNet V2, and labels."""

import math

import numpy as np
import pytest
from PIL import Image

from matting_jax.data import crops
from matting_jax.data.crops.scaled import labelled
from matting_jax.data.files.images import read_label
from matting_jax.data.files.labels import check_label, renumber
from matting_jax.data.prepared import cityscapes
from matting_jax.image.geometry import resize_bilinear
from tests.data.groups import crop_group

CROP = crop_group(size=24, width=40, scales=(0.25, 2.0))


def whole(image, label, scale, place):
    """Returns the published crop: the photo is rescaled, padded and then cropped."""
    height, width = (math.ceil(side * scale) for side in label.shape)
    image = np.rint(resize_bilinear(np.float32(image), height, width)).astype(np.uint8)
    rows = np.arange(height) * label.shape[0] // height
    columns = np.arange(width) * label.shape[1] // width
    label = label[rows][:, columns]
    around = [
        (CROP.size - height) // 2 + 1 if height < CROP.size else 0,
        (CROP.width - width) // 2 + 1 if width < CROP.width else 0,
    ]
    image = np.pad(image, [(x, x) for x in around] + [(0, 0)])
    label = np.pad(label, [(x, x) for x in around], constant_values=255)
    top = int(place[0] * (label.shape[0] - CROP.size))
    left = int(place[1] * (label.shape[1] - CROP.width))
    window = np.s_[top : top + CROP.size, left : left + CROP.width]
    return image[window], label[window]


@pytest.mark.parametrize("shape", [(32, 64), (20, 20), (70, 30), (3, 90)])
def test_crop_is_a_window_of_the_whole_rescaled_photo(shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    label = rng.integers(0, 19, shape, np.uint8)
    padded = 0
    for seed in range(12):
        cut = labelled(np.random.default_rng(seed), image, label, CROP)
        rng = np.random.default_rng(seed)
        expected = whole(image, label, rng.uniform(*CROP.scales), rng.random(2))
        np.testing.assert_array_equal(cut["label"][..., 0], expected[1])
        difference = np.abs(cut["image"].astype(int) - expected[0])
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-2
        padded += (cut["label"] == 255).any()
    assert 0 < padded


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(scales=(0.0, 2.0)), "scales must be a range above 0"),
        (dict(scales=(2.0, 1.0)), "must be a range above 0"),
        (dict(width=-1), "width must be at least 0, got -1"),
        (dict(rescale=(24, 48)), "has rescale and scales"),
    ],
)
def test_error_contains_the_invalid_field(wrong, words):
    with pytest.raises(ValueError, match=words):
        crops.check_crop(crop_group(**CROP.to_dict() | wrong))


def test_label_ids_of_cityscapes_become_its_19_classes():
    """Road is 7, building 11, car 26, bicycle 33; those not scored, and -1, are ignored."""
    ids = np.array([[0, 6, 7, 11], [26, 29, 33, 255]], np.uint8)
    np.testing.assert_array_equal(
        renumber(ids, cityscapes.FEATURES.ids), [[255, 255, 0, 2], [13, 255, 18, 255]]
    )
    assert len(cityscapes.FEATURES.ids) == 19


def test_label_is_the_grey_value_or_the_palette_index(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 5, (6, 8), np.uint8)
    Image.fromarray(numbers).save(tmp_path / "grey.png")
    palette = Image.fromarray(numbers, "P")
    palette.putpalette([200, 10, 10] * 5)
    palette.save(tmp_path / "palette.png")
    for name in ("grey", "palette"):
        np.testing.assert_array_equal(read_label(tmp_path / f"{name}.png"), numbers)
    Image.new("RGB", (8, 6)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="rgb.png: its mode is RGB, but a label holds the number"):
        read_label(tmp_path / "rgb.png")


def test_error_for_an_invalid_class_contains_the_name():
    label = np.uint8([[0, 2, 255]])
    check_label(label, 3, "a.png")
    with pytest.raises(ValueError, match="a.png: the label holds 2, but .*num_classes is 2: .* 1"):
        check_label(label, 2, "a.png")
