"""Test images with their trimaps and backgrounds."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data.files.trimaps import from_alpha
from matting_jax.data.prepared import builders
from tests.encoded import png_of


def test_test_records_are_composited_over_their_own_background(config, plates):
    pairs = data.evaluation_images(config, plates[0])
    assert len(pairs) == 3
    for pair in pairs:
        image, alpha, background = pair.image, pair.alpha, pair.background
        i = int(pair.name.removeprefix("plate "))
        assert background.shape == (24, 20, 3) and (background == 100 + i).all()
        weight = 40 * i / 255
        assert (alpha == 40 * i).all() and alpha.shape == (24, 20)
        assert (image == round(weight * i + (1 - weight) * (100 + i))).all()
        assert image.dtype == alpha.dtype == np.uint8 and image.shape == (24, 20, 3)


def test_images_of_a_test_folder_are_read_unchanged(config, photos):
    config.data.test.images = str(photos)
    pairs = data.evaluation_images(config)
    assert [pair.name for pair in pairs] == list("abcde")
    with Image.open(photos / "image" / "c.png") as image:
        np.testing.assert_array_equal(pairs[2][1], np.asarray(image))
    with Image.open(photos / "alpha" / "c.png") as alpha:
        np.testing.assert_array_equal(pairs[2][2], np.asarray(alpha))


def add_trimaps(photos):
    (photos / "trimap").mkdir()
    for value, name in enumerate("abcde"):
        trimap = np.full((40, 60), 60 * value, np.uint8)
        trimap[:, :20] = 128
        Image.fromarray(trimap).save(photos / "trimap" / f"{name}.png")


def test_trimaps_of_a_test_folder_are_read(config, photos):
    add_trimaps(photos)
    config.data.test.images = str(photos)
    config.data.test.trimap_distance = 5
    images = data.evaluation_images(config)
    assert [image.trimap[0, -1] for image in images] == [0, 0, 128, 255, 255]
    assert all((image.trimap[:, :20] == 128).all() for image in images)
    assert images[0].image.shape == (40, 60, 3) and images[0].alpha.shape == (40, 60)


def test_backgrounds_of_a_test_folder_are_read_and_their_faults_listed(config, photos):
    (photos / "background").mkdir()
    for value, name in enumerate("abcde"):
        Image.new("RGB", (60, 40), (0, 0, value)).save(photos / "background" / f"{name}.jpg")
    config.data.test.images = str(photos)
    for value, image in enumerate(data.evaluation_images(config)):
        assert image.background.shape == (40, 60, 3) and image.trimap is None
        assert np.abs(image.background.astype(int) - (0, 0, value)).max() <= 1
    add_trimaps(photos)
    (photos / "trimap" / "b.png").unlink()
    Image.new("RGB", (61, 40)).save(photos / "background" / "b.jpg")
    with pytest.raises(ValueError, match="2 faults in config.data.test.images") as error:
        data.evaluation_images(config)
    assert f"b.png: no file b.* in {photos / 'trimap'}" in str(error.value)
    assert "b.png: 60 x 40 pixels, but its background has 61 x 40" in str(error.value)


def test_missing_trimaps_are_made_only_if_a_distance_is_set(config, photos, plates):
    config.data.test.images = str(photos)
    assert all(image.trimap is None for image in data.evaluation_images(config))
    config.data.test.trimap_distance = 5
    for image in data.evaluation_images(config):
        np.testing.assert_array_equal(image.trimap, from_alpha(image.alpha, 5))
        assert set(np.unique(image.trimap)) == {0, 128, 255}
    config.data.test.images = ""
    assert all(
        (i.trimap == 128 * (i.alpha > 0)).all() for i in data.evaluation_images(config, plates[0])
    )
    config.data.test.trimap_distance = -2
    with pytest.raises(ValueError, match="config.data.test.trimap_distance .* at least 0, got -2"):
        data.evaluation_images(config, plates[0])


def test_trimap_of_a_data_set_is_read(config, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    record = {
        "image": png_of(image),
        "alpha": png_of(image[..., 0]),
        "trimap": png_of(image[..., 1]),
    }
    loaded = SimpleNamespace(info=SimpleNamespace(features=record))
    monkeypatch.setattr(builders, "load_builder", lambda *arguments: loaded)
    monkeypatch.setattr(builders, "records", lambda builder, split: [record])
    config.data.test.trimap_distance = 5
    trimap = data.evaluation_images(config)[0].trimap
    np.testing.assert_array_equal(trimap == 255, image[..., 1] >= 170)
    np.testing.assert_array_equal(trimap == 0, image[..., 1] < 85)


def test_faults_of_trimaps_are_listed_or_skipped(config, photos):
    add_trimaps(photos)
    trimaps = photos / "trimap"
    (trimaps / "a.png").unlink()
    Image.new("L", (60, 30), 128).save(trimaps / "b.png")
    Image.new("L", (60, 40), 128).save(trimaps / "c.bmp")
    (trimaps / "d.png").write_bytes(b"")
    Image.new("L", (1, 1)).save(trimaps / "of_no_photo.png")
    config.data.test.images = str(photos)
    with pytest.raises(ValueError, match="4 faults in config.data.test.images") as error:
        data.evaluation_images(config)
    for message in (
        f"a.png: no file a.* in {trimaps}",
        "b.png: 60 x 40 pixels, but its trimap has 60 x 30",
        "c.png: 2 files with the same stem",
        "d.png: the file is empty",
    ):
        assert message in str(error.value)
    config.data.skip_bad = True
    assert [image.name for image in data.evaluation_images(config)] == ["e"]


def test_stems_of_trimaps_match_in_any_unicode_normalisation(config, photos):
    """File systems encode an accent as one character or as two."""
    add_trimaps(photos)
    for folder in ("image", "alpha"):
        (photos / folder / "e.png").rename(photos / folder / "e\u0301.png")
    (photos / "trimap" / "e.png").rename(photos / "trimap" / "\u00e9.png")
    config.data.test.images = str(photos)
    assert len(data.evaluation_images(config)) == 5
