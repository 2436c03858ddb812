"""Values that cannot be meant raise errors, others that are rare are reported."""

import logging

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.files.folders import (
    accept,
    find_backgrounds,
    find_compared,
    find_foregrounds,
    find_pairs,
    find_scored,
)
from matting_jax.data.files.trimaps import read_trimap
from matting_jax.data.files.values import check_values
from tests.helpers import ROOT, save_image, soft_disc, write_png16, write_tiff16

CASES = ROOT / "tests" / "cases"


def blocks(*values, dtype=np.uint8):
    """Returns an image of 12 x 8 pixels with a column of each value."""
    return np.repeat(np.array(values, dtype)[None], 8, 0).repeat(24 // len(values), 1)


def save(tmp_path, array):
    save_image(array, tmp_path, "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    "array, words",
    [
        (blocks(0, 1), "its values are 0 and 1 of 255.*255 \\* .*== 1"),
        (blocks(1), "its only value is 1 of 255"),
        (blocks(0, 1, 2), "its values are 0, 1 and 2 of 255"),
        (blocks(0, 15), "its values are 0 and 15 of 255"),
        (blocks(0, 1, 255), "0, 1 and 255 of 255, as in a mask of class numbers"),
        (blocks(0, 7, 15, 255), "0, 7, 15 and 255 of 255, as in a mask of class numbers"),
        (blocks(0, 2, 7, 20), "its values are 0, 2, 7 and 20 of 255"),
        (blocks(0, 1, dtype=np.uint16), "its values are 0 and 1 of 65535"),
        (blocks(0, 255, dtype=np.uint16), "0 and 255 of 65535.* values of 8 bits"),
        (blocks(0, 100, 200, dtype=np.uint16), "0, 100 and 200 of 65535.* values of 8 bits"),
        (blocks(0, 4095, dtype=np.uint16), "0 and 4095 of 65535.* values of 12 bits"),
        (np.dstack([blocks(*range(6))] * 3 + [blocks(0, 1)]), "0 and 1 of 255"),
        (np.dstack([blocks(0, 128), blocks(0, 0), blocks(0, 0)]), "it has colours"),
    ],
)
@pytest.mark.parametrize("role", ["alpha", "prediction"])
def test_values_that_are_no_alpha_raise(tmp_path, array, words, role):
    path = save(tmp_path, array)
    with pytest.raises(ValueError, match=words) as error:
        check_values(path, role)
    assert str(path) in str(error.value)


def test_values_of_a_palette_of_classes_raise():
    with pytest.raises(ValueError, match="a palette of colours, as of classes"):
        check_values(CASES / "masks_0_1/palette_voc/a.png", "alpha")


@pytest.mark.parametrize(
    "array, words",
    [
        (blocks(0), "alpha is 0 everywhere"),
        (blocks(0, 1, 2, 3, 4, 5), "alpha is at most 5 of 255"),
        (blocks(0, 50, 100), "as in percent"),
        (np.dstack([blocks(0, 90, 255)] * 3 + [blocks(255)]), "opaque everywhere"),
        (blocks(255), ""),
        (blocks(0, 255), ""),
        (blocks(0, 256, dtype=np.uint16), ""),
        (soft_disc(8, 12), ""),
    ],
)
def test_values_that_may_be_an_alpha_give_a_warning_or_none(tmp_path, array, words):
    warning = check_values(save(tmp_path, array), "alpha")
    assert words in warning and bool(words) == bool(warning)


def test_hard_edges_and_lossy_compression_are_no_class_numbers(tmp_path):
    hard = np.zeros((40, 40), np.uint8)
    hard[10:30, 10:30] = 255
    Image.fromarray(hard).save(tmp_path / "a.jpg", quality=60)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "a.jpg")))) > 3
    for role in ("alpha", "trimap"):
        assert "class" not in check_values(tmp_path / "a.jpg", role)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.dstack([blocks(9, 200)] * 3 + [blocks(0)]), "at most 0 of 255.* nothing of it"),
        (np.dstack([blocks(9, 200)] * 3 + [blocks(0, 1)]), "at most 1 of 255.* nothing of it"),
        (blocks(0, 255, dtype=np.uint16), "0 and 255 of 65535.* values of 8 bits"),
        (blocks(0, 4095, dtype=np.uint16), "values of 12 bits"),
    ],
)
def test_photos_of_which_nothing_can_be_seen_raise(tmp_path, array, words):
    path = save(tmp_path, array)
    with pytest.raises(ValueError, match=words):
        check_values(path, "photo")
    with pytest.raises(ValueError, match="1 fault in set") as error:
        accept([find_backgrounds(tmp_path, "set", tmp_path / "cache", 1)], skip_bad=False)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_that_hold_fewer_raise(tmp_path, bits, channels):
    values = np.full((6, 7, channels), 2**bits - 1, np.uint16)
    values[2:4, 1:5] = 9
    write_png16(tmp_path / "a.png", values)
    names = ["a.png"]
    if channels > 2:
        write_tiff16(tmp_path / "b.tif", values)
        names.append("b.tif")
    for name in names:
        for role in ("photo", "alpha", "trimap"):
            with pytest.raises(ValueError, match=f"of 65535.* values of {bits} bits.* its array"):
                check_values(tmp_path / name, role)
    write_png16(tmp_path / "a.png", np.uint16(values * (65535 / (2**bits - 1))))
    assert check_values(tmp_path / "a.png", "photo") == ""


@pytest.mark.parametrize(
    "array",
    [
        blocks(0),
        blocks(0, 1),
        blocks(0, dtype=np.uint16),
        blocks(0, 30000, dtype=np.uint16),
        np.dstack([blocks(9, 200)] * 3 + [blocks(0, 3)]),
        np.dstack([blocks(9, 1)] * 3),
    ],
)
def test_other_photos_may_be_meant(tmp_path, array):
    assert check_values(save(tmp_path, array), "photo") == ""


def test_faint_predictions_may_be_of_images_without_a_subject(tmp_path):
    noise = np.zeros((40, 40), np.uint8)
    noise[3, 5:9] = 1
    wide = np.arange(100, dtype=np.uint16).reshape(10, 10)
    for array in (noise, noise.astype(np.uint16), wide):
        path = save(tmp_path, array)
        assert "its alpha is at most" in check_values(path, "prediction")
        with pytest.raises(ValueError, match="convert it"):
            check_values(path, "alpha")


@pytest.mark.parametrize(
    "array, words",
    [
        (blocks(0, 1, 2), "its values are 0, 1 and 2 of 255, as of class numbers"),
        (blocks(0, 1), "0 and 1 of 255"),
        (blocks(0, 1, 2, dtype=np.uint16), "0, 1 and 2 of 65535, as of class numbers"),
        (blocks(0, 128, 255, dtype=np.uint16), "0, 128 and 255 of 65535.* values of 8 bits"),
        (blocks(0, 84), "0 and 84 of 255"),
        (blocks(0), "0 everywhere"),
        (blocks(1, 2, 3), "1, 2 and 3 of 255, as of class numbers"),
        (blocks(0, 1, 255), "0, 1 and 255 of 255, as of class numbers"),
        (blocks(0, 50, 100), r"0, 50 and 100 of 255, as in percent.*asarray\(image\) // 50"),
        (np.dstack([blocks(0, 128), blocks(255, 0), blocks(0, 0)]), "it has colours"),
    ],
)
def test_values_that_are_no_trimap_raise(tmp_path, array, words):
    with pytest.raises(ValueError, match=words) as error:
        check_values(save(tmp_path, array), "trimap")
    assert str(tmp_path / "a.png") in str(error.value)


def test_trimap_without_unknown_or_known_pixels_is_reported(tmp_path):
    assert "no unknown pixel" in check_values(save(tmp_path, blocks(0, 255)), "trimap")
    path = save(tmp_path, blocks(128))
    assert "unknown everywhere" in check_values(path, "trimap")
    with pytest.raises(ValueError, match="unknown everywhere"):
        check_values(path, "trimap", predicting=True)
    assert check_values(save(tmp_path, blocks(0, 128)), "trimap", predicting=True) == ""


def test_grey_of_a_trimap_counts_and_its_transparent_pixels_are_background(tmp_path):
    grey = blocks(255, 128, 255, 0)
    erased = np.dstack([grey] * 3 + [blocks(0, 255, 255, 255)])
    expected = blocks(0, 128, 255, 0)
    np.testing.assert_array_equal(read_trimap(save(tmp_path, erased)), expected)
    Image.fromarray(erased[..., 2:], "LA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_trimap(tmp_path / "b.png"), expected)
    opaque = np.dstack([grey] * 3 + [blocks(255)])
    np.testing.assert_array_equal(read_trimap(save(tmp_path, opaque)), grey)
    erased[:, :6, 0] = 90  # colours under transparent pixels do not count
    np.testing.assert_array_equal(read_trimap(save(tmp_path, erased)), expected)


def test_masks_of_0_and_1_are_listed_before_training_or_skipped(tmp_path):
    found = find_pairs(CASES / "masks_0_1" / "train", "config.data.train.images", tmp_path, 2)
    assert not found.items and len(found.faults) == 2
    with pytest.raises(ValueError, match=r"1\.png: its values are 0 and 1 of 255"):
        accept([found], skip_bad=False)
    for name, array in (("0", soft_disc(64, 64)), ("1", blocks(0, 1))):
        photo = np.zeros((*array.shape, 3), np.uint8)
        save_image(photo, tmp_path, "set", "image", f"{name}.png")
        save_image(array, tmp_path, "set", "alpha", f"{name}.png")
    found = find_pairs(tmp_path / "set", "config.data.train.images", tmp_path, 2)
    accept([found], skip_bad=True)
    assert [pair.image.name for pair in found.items] == ["0.png"]


def test_alphas_of_cut_outs_are_checked(tmp_path):
    rgba = np.dstack([blocks(*range(6))] * 3 + [blocks(0, 1)])
    save_image(rgba, tmp_path, "cuts", "a.png")
    (fault,) = find_foregrounds(tmp_path / "cuts", "field", tmp_path, 2).faults
    assert "a.png: its values are 0 and 1 of 255" in fault


def test_trimaps_of_test_images_are_checked(tmp_path):
    for part, array in (("alpha", soft_disc(8, 24)), ("trimap", blocks(0, 1, 2))):
        save_image(array, tmp_path, part, "a.png")
    save_image(np.zeros((8, 24, 3), np.uint8), tmp_path, "image", "a.png")
    (fault,) = find_scored(tmp_path, "field", tmp_path / "cache", 2).faults
    assert "as of class numbers" in fault


@pytest.mark.parametrize("trimaps", ["codes_0_1_2", "all_black"])
def test_trimaps_are_checked_before_measuring(trimaps):
    folder = CASES / "trimap_codes"
    with pytest.raises(ValueError, match=rf"{trimaps}/a.png: its"):
        find_compared(folder / "predictions", folder / "truths", folder / trimaps)
    assert len(find_compared(folder / "predictions", folder / "truths")) == 1


def test_warnings_of_many_files_are_one_line(tmp_path, caplog):
    for name in "abc":
        save_image(blocks(0), tmp_path, "set", "alpha", f"{name}.png")
        save_image(np.zeros((8, 24, 3), np.uint8), tmp_path, "set", "image", f"{name}.png")
    for _ in range(2):  # those of files that were checked before, too
        caplog.clear()
        with caplog.at_level(logging.WARNING, "matting_jax"):
            assert len(find_pairs(tmp_path / "set", "field", tmp_path / "cache", 2).items) == 3
        (record,) = caplog.records
        assert "a.png (and 2 others): its alpha is 0 everywhere" in record.getMessage()
