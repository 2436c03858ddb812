import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data.decoded import DiskImages
from matting_jax.data.prepared import builders
from matting_jax.data.sources import Composites, Labelled, Lazy, Photos, Unlabelled
from tests.data.groups import crop_group
from tests.encoded import png_of


def test_data_imports_no_tensorflow():
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


def test_error_for_an_unknown_name_contains_a_valid_one(config, plates):
    with pytest.raises(ValueError, match="did you mean 'tiny_plates'"):
        builders.load_builder("tiny_plate", config.data.directory, plates[0])
    config.data.train.split = "trian"
    with pytest.raises(ValueError, match="train.*test"):
        data.train_source(config, plates[0])
    config.data.train.dataset = ""
    with pytest.raises(ValueError, match="config.data.train has no data.*train.images of photos"):
        data.train_source(config, plates[0])


def test_data_set_must_be_prepared_as_array_record(plates, tmp_path):
    builder = builders.builder_class(plates[0] / "tiny_plates")(data_dir=tmp_path)
    builder.download_and_prepare(file_format="tfrecord")
    with pytest.raises(ValueError, match="not prepared as array_record"):
        builders.records(builders.load_builder("tiny_plates", tmp_path, plates[0]), "train")


def test_folders_have_precedence_over_the_data_set(config, photos, backgrounds, plates):
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


def test_folder_of_photos_is_cropped_with_its_alphas(config, photos):
    config.data.train.images = str(photos)
    source = data.train_source(config)
    assert source.description == f"5 photos, {photos}"
    sample = source.sample(0, np.random.default_rng(0), config.data.crop)
    assert sample["image"].shape == (32, 32, 3) and sample["alpha"].shape == (32, 32, 1)


def test_data_set_of_photos(config, backgrounds, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    records = [{"image": png_of(image), "alpha": png_of(image[..., 0])}] * 2
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
def test_contradicting_folders_raise(config, photos, fields):
    for field in fields:
        config.data.train[field] = str(photos)
    with pytest.raises(ValueError, match="config.data.train.backgrounds"):
        data.train_source(config)


@pytest.mark.parametrize("where", [{"keep_decoded": True}, {"keep_on_disk": 0.001}])
def test_kept_images_are_decoded_once_and_equal(config, photos, backgrounds, where):
    config.data.train.update(foregrounds=str(photos), backgrounds=str(backgrounds))
    plain = data.train_source(config)
    config.data.update(where)
    kept = data.train_source(config)
    for i in range(len(plain)):
        for ours, theirs in zip(kept.foregrounds[i], plain.foregrounds[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for path in (photos / "image").iterdir():
        path.unlink()
    assert kept.foregrounds[2][0].shape == (40, 60, 3)
    with pytest.raises(ValueError, match="image"):
        plain.foregrounds[2]


def test_images_are_kept_in_one_place(config, photos, backgrounds):
    config.data.train.update(foregrounds=str(photos), backgrounds=str(backgrounds))
    config.data.keep_decoded, config.data.keep_on_disk = True, 1.0
    with pytest.raises(ValueError, match=r"keep_on_disk is 1\.0: set one of them"):
        data.train_source(config)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("kind", [Composites, Photos, Labelled, Unlabelled])
def test_every_source_keeps_decoded_images(kind, on_disk, tmp_path):
    seen = []

    def read(number):
        seen.append(number)
        image = np.full((6, 7, 3), number, np.uint8)
        return image if kind is Unlabelled else (image, image[..., 0])

    images = Lazy(range(3), read)
    layers = [images, [np.zeros((6, 7, 3), np.uint8)]] if kind is Composites else [images]
    disk = DiskImages(tmp_path, 10_000) if on_disk else None
    source = kind(*layers, "numbers").keep_decoded(disk)
    crop = (
        crop_group(size=4, width=4, scales=(1.0, 1.0))
        if kind is Labelled
        else crop_group(size=4, rescale=(4, 8))
    )
    for seed in range(3):
        sample = source.sample(2, np.random.default_rng(seed), crop)
        assert sample.keys() == source.channels.keys()
        assert (next(iter(sample.values())) == 2).all()
    assert seen == [2]


AFFINE = dict(rotation=0.0, scale=(1.0, 1.0), shear=0.0, flip=0.0, square=0.0, square_size=40)


def use_affine(config):
    config.data.crop = crop_group(size=16, around="unknown", affine=AFFINE)


def test_second_foreground_is_drawn_from_all_with_its_probability(config, plates):
    use_affine(config)
    config.data.train.combine = 0.75
    source = data.train_source(config, plates[0])
    assert list(source.channels) == ["foreground", "alpha", "background", "foreground2", "alpha2"]
    seen = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sample = source.sample(4, rng, config.data.crop)
        assert sample.keys() == source.channels.keys()
        for name, channels in source.channels.items():
            assert sample[name].shape == (16, 16, channels) and sample[name].dtype == np.uint8
        # Record i of the data set has colour i and alpha 40 i; record 0 has no alpha.
        colour, alpha = sample["foreground2"].max(), sample["alpha2"].max()
        own = sample["foreground"].max()
        assert alpha == 40 * colour or (alpha == 0 and colour == own)
        seen.append(int(alpha))
    assert set(seen) == {0, 40, 80, 120, 160, 200}
    # A probability of 3/4, but one in six shows record 0.
    assert abs(np.mean(np.array(seen) > 0) - 0.75 * 5 / 6) < 0.1


def test_without_combine_there_is_no_second_foreground(config, plates):
    source = data.train_source(config, plates[0])
    assert list(source.channels) == ["foreground", "alpha", "background"]
    use_affine(config)
    config.data.train.combine = 0.0
    source = data.train_source(config, plates[0])
    assert not any(
        source.sample(4, np.random.default_rng(i), config.data.crop)["alpha2"].any()
        for i in range(20)
    )


def test_batches_hold_the_second_foreground(config, plates):
    use_affine(config)
    config.data.train.combine = 1
    source = data.train_source(config, plates[0])
    (batch,) = data.train_batches(source, config, 0, 1)
    assert batch["foreground2"].shape == (4, 16, 16, 3) and batch["alpha2"].shape == (4, 16, 16, 1)


def test_invalid_combine_raises(config, plates):
    config.data.train.combine = 0.5
    with pytest.raises(
        ValueError, match="rescale cannot crop two foregrounds.*with config.data.crop.affine"
    ):
        data.train_source(config, plates[0])
    use_affine(config)
    config.data.train.combine = 2
    with pytest.raises(
        ValueError, match="config.data.train.combine must be a probability .* got 2"
    ):
        data.train_source(config, plates[0])


def test_affine_crops_of_photos_raise(config, photos, monkeypatch):
    use_affine(config)
    config.data.train.images = str(photos)
    with pytest.raises(
        ValueError, match="data.crop.affine cannot crop photos: use a config with .*windows"
    ):
        data.train_source(config)
    config.data.train.images = ""
    loaded = SimpleNamespace(info=SimpleNamespace(features={"image": 0, "alpha": 0}))
    monkeypatch.setattr(builders, "load_builder", lambda *arguments: loaded)
    monkeypatch.setattr(builders, "records", lambda builder, split: [])
    with pytest.raises(
        ValueError, match="data.crop.affine cannot crop photos: use a config with .*windows"
    ):
        data.train_source(config)
    config.data.train.photos = str(photos / "image")
    with pytest.raises(
        ValueError, match="data.crop.affine cannot crop photos: use a config with .*windows"
    ):
        data.train_source(config, unlabelled=True)


def test_unlabelled_photos_are_only_for_tasks_that_learn_from_them(config, photos):
    with pytest.raises(ValueError, match="photos is empty: set --config.data.train.photos=DIR"):
        data.train_source(config, unlabelled=True)
    config.data.train.photos, config.task.name = str(photos / "image"), "modnet"
    with pytest.raises(ValueError, match="task 'modnet' does not learn from photos without alpha"):
        data.train_source(config)
    assert len(data.train_source(config, unlabelled=True).photos) == 5


def test_photos_are_cut_by_windows(config, photos):
    config.data.crop = crop_group(size=32, windows=(32,), around="unknown")
    config.data.train.images = str(photos)
    source = data.train_source(config)
    sample = source.sample(0, np.random.default_rng(0), config.data.crop)
    image, alpha = source.pairs[0]
    assert any((sample["image"] == image[:32, left : left + 32]).all() for left in range(29))
    assert ((sample["alpha"] > 0) & (sample["alpha"] < 255)).any()
