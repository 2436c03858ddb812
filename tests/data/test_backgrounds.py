"""Backgrounds of training: all or fixed ones, of folders, of data sets, of foregrounds' own."""

from types import SimpleNamespace

import numpy as np
import pytest

from matting_jax import data
from matting_jax.data.prepared import builders
from tests.encoded import png_of


def test_all_backgrounds_are_drawn(config, photos, backgrounds):
    config.data.train.foregrounds = str(photos)
    config.data.train.backgrounds = str(backgrounds)
    source = data.train_source(config)
    samples = [source.sample(0, np.random.default_rng(i), config.data.crop) for i in range(40)]
    assert {int(sample["background"].max()) for sample in samples} == {0, 1, 2}


def backgrounds_of(source, config, record, draws=40):
    """Returns the backgrounds that a record is composited with, by the number in their colour."""
    samples = (
        source.sample(record, np.random.default_rng(i), config.data.crop) for i in range(draws)
    )
    return {int(sample["background"].max()) - 100 for sample in samples}


def test_each_foreground_keeps_its_fixed_backgrounds(config, plates):
    config.data.train.fixed_backgrounds = 2
    first, again = (data.train_source(config, plates[0]) for _ in range(2))
    chosen = [backgrounds_of(first, config, record) for record in range(6)]
    assert chosen == [backgrounds_of(again, config, record) for record in range(6)]
    assert all(len(numbers) == 2 for numbers in chosen)
    # Six backgrounds serve three foregrounds, each once.
    assert set.union(*chosen[:3]) == set(range(6)) and chosen[3:] == chosen[:3]
    config.seed += 1
    other = data.train_source(config, plates[0])
    assert chosen != [backgrounds_of(other, config, record) for record in range(6)]


def test_fixed_backgrounds_are_those_of_all_epochs_and_of_a_resumed_run(config, plates):
    config.data.train.fixed_backgrounds = 2
    source = data.train_source(config, plates[0])
    colours = [int(source.foregrounds[record][0].max()) for record in range(6)]
    met = {colour: set() for colour in colours}

    def collect(batches):
        for batch in batches:
            for image, background in zip(batch["foreground"], batch["background"], strict=True):
                met[int(image.max())].add(int(background.max()) - 100)

    # Steps 0 to 15 are ten epochs of six foregrounds and more.
    collect(data.train_batches(source, config, 0, 8))
    collect(data.train_batches(data.train_source(config, plates[0]), config, 8, 16))
    assert met == {x: backgrounds_of(source, config, i) for i, x in enumerate(colours)}


def test_backgrounds_are_not_fixed_by_default(config, plates):
    plain = data.train_source(config, plates[0])
    assert config.data.train.fixed_backgrounds == 0 and plain.fixed is None
    for seed in range(5):
        sample = plain.sample(3, np.random.default_rng(seed), config.data.crop)
        number = int(np.random.default_rng(seed).integers(6))
        assert int(sample["background"].max()) - 100 == int(plain.backgrounds[number].max()) - 100


@pytest.mark.parametrize(
    "number, images, words",
    [
        (7, False, "fixed_backgrounds is 7, but there are only 6 backgrounds"),
        (-1, False, "fixed_backgrounds must be at least 0, got -1"),
        (
            2,
            True,
            r"fixed_backgrounds is 2, but these training images have .*5 photos.*set it to 0",
        ),
    ],
)
def test_invalid_number_of_fixed_backgrounds_raises(config, plates, photos, number, images, words):
    config.data.train.fixed_backgrounds = number
    config.data.train.images = str(photos) if images else ""
    with pytest.raises(ValueError, match=words):
        data.train_source(config, plates[0])


@pytest.mark.parametrize("with_folder", [False, True])
def test_backgrounds_of_another_data_set(config, photos, plates, with_folder):
    """They replace those of the data set, and complete a folder of foregrounds."""
    config.data.train.background_dataset = "tiny_plates"
    config.data.train.background_split = "test"
    if with_folder:
        config.data.train.foregrounds = str(photos)
    source = data.train_source(config, plates[0])
    place = str(photos) if with_folder else "tiny_plates/train"
    counts = f"{5 if with_folder else 6} foregrounds, 3 backgrounds"
    assert source.description == f"{counts}, {place}, tiny_plates/test"
    assert {int(background.max()) for background in source.backgrounds} == {100, 101, 102}


def test_folder_of_backgrounds_has_precedence_over_another_data_set(config, backgrounds, plates):
    config.data.train.update(background_dataset="coco/2017", background_split="train")
    config.data.train.backgrounds = str(backgrounds)
    assert len(data.train_source(config, plates[0]).backgrounds) == 3


def test_photos_of_another_data_set_serve_as_backgrounds(config, monkeypatch, plates):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    load, records = builders.load_builder, builders.records
    photos = SimpleNamespace(info=SimpleNamespace(features={"image": 0, "objects": 0}))
    monkeypatch.setattr(
        builders, "load_builder", lambda *a: photos if a[0] == "voc/2012" else load(*a)
    )
    monkeypatch.setattr(
        builders,
        "records",
        lambda builder, split: (
            [{"image": png_of(image)}] if builder is photos else records(builder, split)
        ),
    )
    config.data.train.update(background_dataset="voc/2012", background_split="validation")
    source = data.train_source(config, plates[0])
    np.testing.assert_array_equal(source.backgrounds[0], image)
    assert source.description.endswith("tiny_plates/train, voc/2012/validation")
    del photos.info.features["image"]
    with pytest.raises(ValueError, match="voc/2012 has objects, but lacks image"):
        data.train_source(config, plates[0])


def test_error_for_a_failed_download_is_one_line(config, monkeypatch, plates, tmp_path):
    import tensorflow_datasets as tfds

    def offline(self, **options):
        raise ConnectionError("host unreachable:\n  images.cocodataset.org")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    config.data.train.update(background_dataset="coco/2017", background_split="train")
    with pytest.raises(ValueError, match="coco/2017 cannot be downloaded") as error:
        data.train_source(config, plates[0])
    assert "(host unreachable: images.cocodataset.org)" in str(error.value)
    assert f"{config.data.directory}/coco/2017" in str(error.value)
