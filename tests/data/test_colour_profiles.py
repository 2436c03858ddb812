"""config.data.colour_profile in folders, lists and data sets."""

import io
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.data.prepared import builders
from tests.helpers import ROOT, save_image, soft_disc

PHOTO = ROOT / "tests" / "cases" / "colour_profile" / "photos" / "adobe.png"


@pytest.fixture
def own():
    with Image.open(PHOTO) as image:
        return np.asarray(image)


def fill(folder, name="a", alpha_name="a"):
    """Writes a photo with a profile and its alpha."""
    for part in ("image", "alpha"):
        (folder / part).mkdir(parents=True)
    (folder / "image" / f"{name}.png").write_bytes(PHOTO.read_bytes())
    save_image(soft_disc(64, 64), folder, "alpha", f"{alpha_name}.png")
    return folder


def differs(image, own):
    return np.abs(image.astype(int) - own).max() > 4


@pytest.mark.parametrize("profile", ["srgb", "ignore"])
@pytest.mark.parametrize("colours", ["as_is", "estimate"])
def test_images_of_folders_follow_the_config(config, tmp_path, own, profile, colours):
    folder = str(fill(tmp_path / "set"))
    config.data.colour_profile, config.data.foreground_colours = profile, colours
    config.data.workers = 1
    config.data.test.images = config.data.train.images = folder
    images = [data.evaluation_images(config)[0].image, data.train_source(config).pairs[0][0]]
    config.data.train.update(images="", foregrounds=folder, backgrounds=f"{folder}/image")
    source = data.train_source(config)
    images += [source.backgrounds[0], source.foregrounds[0][0]]
    for image in images[: 4 if colours == "as_is" else 3]:
        assert differs(image, own) == (profile == "srgb")


def test_estimated_colours_are_kept_for_each_choice(config, tmp_path):
    folder = str(fill(tmp_path / "set"))
    config.data.foreground_colours, config.data.workers = "estimate", 1
    config.data.train.update(foregrounds=folder, backgrounds=f"{folder}/image")
    found = []
    for profile in ("srgb", "ignore", "srgb"):
        config.data.colour_profile = profile
        found.append(data.train_source(config).foregrounds[0][0])
    assert differs(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("choice", ["ignore", "srgb"])
def test_data_sets_ignore_profiles_unless_their_builder_follows_the_config(
    config, monkeypatch, own, choice
):
    stream = io.BytesIO()
    opaque = np.dstack([soft_disc(64, 64)] * 3 + [np.full((64, 64), 255, np.uint8)])
    Image.fromarray(opaque).save(stream, "PNG")
    record = {"image": PHOTO.read_bytes(), "alpha": stream.getvalue()}
    loaded = SimpleNamespace(info=SimpleNamespace(features=record), COLOUR_PROFILE=choice)
    monkeypatch.setattr(builders, "load_builder", lambda *arguments: loaded)
    monkeypatch.setattr(builders, "records", lambda builder, split: [record])
    image = data.evaluation_images(config)[0]
    assert differs(image.image, own) == (choice == "srgb")
    # As published code reads an alpha that is stored in opaque RGBA.
    np.testing.assert_array_equal(image.alpha, soft_disc(64, 64))
    del loaded.COLOUR_PROFILE  # of TFDS itself
    np.testing.assert_array_equal(data.evaluation_images(config)[0].image, own)
    loaded.COLOUR_PROFILE, config.data.colour_profile = choice, "ignore"
    np.testing.assert_array_equal(data.evaluation_images(config)[0].image, own)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_lists_name_files_in_any_unicode_form(config, tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    ours, theirs = (unicodedata.normalize(x, "caf\u00e9") for x in (form, other))
    fill(tmp_path / "set", ours, theirs)
    (tmp_path / "set" / "image").rename(tmp_path / "set" / "fg")
    path = tmp_path / "set" / "list.txt"
    path.write_text(f"fg/{theirs}.png\n", "utf-8")
    config.data.test.list = config.data.train.list = str(path)
    config.data.crop.update(size=16)
    (image,) = data.evaluation_images(config)
    assert image.alpha.shape == (64, 64)
    assert len(data.train_source(config)) == 1
