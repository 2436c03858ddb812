import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data import builders


def test_import_brings_no_tensorflow():
    program = "import matting_jax.data, sys; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_data_set_gives_foregrounds_and_backgrounds(config, plates):
    source = data.train_source(config, plates[0])
    assert source.description == "6 foregrounds, 6 backgrounds, tiny_plates/train"
    assert len(source) == 6
    values = set()
    for (foreground, alpha), background in zip(source.foregrounds, source.backgrounds, strict=True):
        value = foreground[0, 0, 0]
        assert foreground.shape == background.shape == (24, 20, 3)
        np.testing.assert_array_equal(alpha, np.full((24, 20), 40 * value))
        assert (background == 100 + value).all()
        values.add(int(value))
    assert values == set(range(6))


def test_data_set_is_prepared_once(config, plates, monkeypatch):
    first = builders.load_builder("tiny_plates", config.data.directory, plates[0])
    assert first.info.file_format.value == "array_record"

    def generated(self, *arguments, **keywords):
        raise AssertionError("prepared again")

    monkeypatch.setattr(type(first), "_generate_examples", generated)
    assert len(data.train_source(config, plates[0])) == 6


def test_unknown_names_are_errors_with_the_valid_choice(config, plates):
    with pytest.raises(ValueError, match="Did you mean 'tiny_plates'"):
        builders.load_builder("tiny_plate", config.data.directory, plates[0])
    config.data.train.split = "trian"
    with pytest.raises(ValueError, match="train.*test"):
        data.train_source(config, plates[0])
    config.data.train.dataset = ""
    with pytest.raises(ValueError, match="config.data.train names no data"):
        data.train_source(config, plates[0])


def test_data_set_of_another_format_is_an_error(plates, tmp_path):
    builder = builders._builder_class(plates[0] / "tiny_plates")(data_dir=tmp_path)
    builder.download_and_prepare(file_format="tfrecord")
    with pytest.raises(ValueError, match="not prepared as array_record"):
        builders.records(builders.load_builder("tiny_plates", tmp_path, plates[0]), "train")


def test_folders_win_over_the_data_set(config, photos, backgrounds, plates):
    config.data.train.backgrounds = str(backgrounds)
    source = data.train_source(config, plates[0])
    assert source.description == f"6 foregrounds, 3 backgrounds, tiny_plates/train, {backgrounds}"
    config.data.train.foregrounds = str(photos)
    source = data.train_source(config)
    assert source.description == f"5 foregrounds, 3 backgrounds, {photos}, {backgrounds}"
    sample = source.sample(0, np.random.default_rng(0), config.data.crop)
    assert {name: value.shape for name, value in sample.items()} == {
        "foreground": (32, 32, 3),
        "alpha": (32, 32, 1),
        "background": (32, 32, 3),
    }


def test_all_backgrounds_are_drawn(config, photos, backgrounds):
    config.data.train.foregrounds = str(photos)
    config.data.train.backgrounds = str(backgrounds)
    source = data.train_source(config)
    samples = [source.sample(0, np.random.default_rng(i), config.data.crop) for i in range(40)]
    assert {int(sample["background"].max()) for sample in samples} == {0, 1, 2}


def test_estimated_and_own_colours(config, photos, backgrounds):
    config.data.train.foregrounds = str(photos)
    config.data.train.backgrounds = str(backgrounds)
    own, alpha = data.train_source(config).foregrounds[0]
    config.data.foreground_colours = "estimate"
    config.data.workers = 1
    for name in "bcde":
        (photos / "image" / f"{name}.png").unlink()
        (photos / "alpha" / f"{name}.png").unlink()
    estimated, same = data.train_source(config).foregrounds[0]
    np.testing.assert_array_equal(alpha, same)
    soft = (alpha > 30) & (alpha < 225)
    assert own[soft][:, 0].mean() > 100 > 12 > estimated[soft][:, 0].mean()


def test_cut_outs_keep_their_colours(config, backgrounds, tmp_path):
    folder = tmp_path / "cuts"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 4), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    config.data.train.foregrounds = str(folder)
    config.data.train.backgrounds = str(backgrounds)
    config.data.foreground_colours = "estimate"
    colours, alpha = data.train_source(config).foregrounds[0]
    np.testing.assert_array_equal(np.dstack([colours, alpha]), pixels)


def test_real_photos(config, photos):
    config.data.train.images = str(photos)
    source = data.train_source(config)
    assert source.description == f"5 photos, {photos}"
    sample = source.sample(0, np.random.default_rng(0), config.data.crop)
    assert sample["image"].shape == (32, 32, 3) and sample["alpha"].shape == (32, 32, 1)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_data_set_of_photos(config, backgrounds, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    records = [{"image": png(image), "alpha": png(image[..., 0])}] * 2
    loaded = SimpleNamespace(info=SimpleNamespace(features=records[0]))
    monkeypatch.setattr(builders, "load_builder", lambda *arguments: loaded)
    monkeypatch.setattr(builders, "records", lambda builder, split: records)
    source = data.train_source(config)
    assert source.description == "2 photos, tiny_plates/train"
    assert set(source.sample(1, np.random.default_rng(0), config.data.crop)) == {"image", "alpha"}
    name, photo, alpha = data.evaluation_images(config)[1][:3]
    assert name == "test_000001"
    np.testing.assert_array_equal(photo, image)
    np.testing.assert_array_equal(alpha, image[..., 0])
    config.data.train.backgrounds = str(backgrounds)
    with pytest.raises(ValueError, match="has alpha, image, but lacks foreground"):
        data.train_source(config)


@pytest.mark.parametrize("fields", [("images", "foregrounds"), ("foregrounds",)])
def test_contradicting_folders_are_errors(config, photos, fields):
    for field in fields:
        config.data.train[field] = str(photos)
    with pytest.raises(ValueError, match="config.data.train.backgrounds"):
        data.train_source(config)


def test_test_records_are_composited_over_their_own_background(config, plates):
    pairs = data.evaluation_images(config, plates[0])
    assert len(pairs) == 3
    for name, image, alpha, *_ in pairs:
        i = int(name.removeprefix("plate "))
        weight = 40 * i / 255
        assert (alpha == 40 * i).all() and alpha.shape == (24, 20)
        assert (image == round(weight * i + (1 - weight) * (100 + i))).all()
        assert image.dtype == alpha.dtype == np.uint8 and image.shape == (24, 20, 3)


def test_test_folder_is_read_as_it_is(config, photos):
    config.data.test.images = str(photos)
    pairs = data.evaluation_images(config)
    assert [pair.name for pair in pairs] == list("abcde")
    with Image.open(photos / "image" / "c.png") as image:
        np.testing.assert_array_equal(pairs[2][1], np.asarray(image))
    with Image.open(photos / "alpha" / "c.png") as alpha:
        np.testing.assert_array_equal(pairs[2][2], np.asarray(alpha))


def test_kept_images_are_decoded_once_and_the_same(config, photos, backgrounds, monkeypatch):
    config.data.train.update(foregrounds=str(photos), backgrounds=str(backgrounds))
    plain = data.train_source(config)
    config.data.keep_decoded = True
    kept = data.train_source(config)
    for i in range(len(plain)):
        for ours, theirs in zip(kept.foregrounds[i], plain.foregrounds[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for path in (photos / "image").iterdir():
        path.unlink()
    assert kept.foregrounds[2][0].shape == (40, 60, 3)
    with pytest.raises(ValueError, match="image"):
        plain.foregrounds[2]
