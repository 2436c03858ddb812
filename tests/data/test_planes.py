"""Planes made from the alpha of whole images, cropped with it."""

import numpy as np
import pytest

from matting_jax import data
from matting_jax.data.crops import find_rule
from matting_jax.image.planes import AlphaPlanes
from tests.data.groups import crop_group, make_copies

RULES = {
    "rescale": dict(size=32, rescale=(24, 48), around="unknown"),
    "corners": dict(size=32, corners=(24, 36), around="unknown"),
}
# Linear in alpha, so that resized planes are planes of the resized alpha, up to rounding.
PLANES = AlphaPlanes(lambda alpha: np.stack([alpha, 255 - alpha], -1), 2)


@pytest.fixture
def pairs(config, photos, backgrounds):
    config.data.train.update(foregrounds=str(photos), backgrounds=str(backgrounds))
    return config


def assert_cropped_alike(batch):
    alpha, planes = batch["alpha"].astype(int), batch["alpha_planes"].astype(int)
    assert planes.shape == (*alpha.shape[:3], 2) and batch["alpha_planes"].dtype == np.uint8
    np.testing.assert_array_equal(planes[..., :1], alpha)
    # Around a foreground that is smaller than the window all planes are 0.
    sums = planes.sum(-1)
    assert np.all((abs(sums - 255) <= 1) | (sums == 0))
    assert np.std(alpha) > 10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("keep", [False, True])
def test_planes_are_cropped_as_the_alpha_of_composites(pairs, rule, keep):
    pairs.data.crop, pairs.data.keep_decoded = crop_group(**RULES[rule]), keep
    source = data.train_source(pairs, planes=PLANES)
    assert source.channels == {"foreground": 3, "alpha": 1, "background": 3, "alpha_planes": 2}
    (batch,) = data.train_batches(source, pairs, 0, 1)
    assert_cropped_alike(batch)
    (plain,) = data.train_batches(data.train_source(pairs), pairs, 0, 1)
    assert batch.keys() - plain.keys() == {"alpha_planes"}
    for name, array in plain.items():
        np.testing.assert_array_equal(array, batch[name])


@pytest.mark.parametrize("rule", RULES)
def test_planes_are_cropped_as_the_alpha_of_photos(config, photos, rule):
    config.data.train.images, config.data.crop = str(photos), crop_group(**RULES[rule])
    source = data.train_source(config, planes=PLANES)
    assert source.channels == {"image": 3, "alpha": 1, "alpha_planes": 2}
    (batch,) = data.train_batches(source, config, 0, 1)
    assert_cropped_alike(batch)
    assert (batch["alpha_planes"].sum(-1) > 0).all()  # a photo covers its window


def test_planes_of_composites_with_denoised_copies_are_not_copied(pairs, photos, backgrounds):
    make_copies(photos / "image")
    make_copies(backgrounds)
    three = AlphaPlanes(lambda alpha: np.stack([alpha] * 3, -1), 3)
    source = data.train_source(pairs, denoised=True, planes=three)
    (batch,) = data.train_batches(source, pairs, 0, 1)
    copies = {name for name in batch if name.endswith("_denoised")}
    assert copies == {"foreground_denoised", "background_denoised"}
    np.testing.assert_array_equal(batch["alpha_planes"], np.repeat(batch["alpha"], 3, -1))


def test_planes_of_kept_images_are_made_once_of_the_whole_alpha(pairs):
    shapes = []

    def make(alpha):
        shapes.append(alpha.shape)
        return alpha[..., None]

    pairs.data.keep_decoded = True
    source = data.train_source(pairs, planes=AlphaPlanes(make, 1))
    for seed in range(3):
        source.sample(1, np.random.default_rng(seed), pairs.data.crop)
    assert shapes == [(40, 60)]


@pytest.mark.parametrize("size", [32, 24])
def test_exact_labels_stay_exact_inside_their_regions(size):
    """Resized or not; only at the borders of regions there are values between."""
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[16:48, 16:48], labels[24:40, 24:40] = 128, 255
    crop = crop_group(size=size, corners=(48,), around="anywhere")
    image, alpha = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 128, np.uint8)
    for seed in range(5):
        cut = find_rule(crop).photo(np.random.default_rng(seed), image, alpha, crop, labels)
        exact = np.isin(cut["alpha_planes"], (0, 128, 255)).mean()
        assert cut["alpha_planes"].shape == (size, size, 1) and exact > 0.75


@pytest.mark.parametrize(
    "fields",
    [
        dict(windows=(32,)),
        dict(
            affine=dict(
                rotation=0.0, scale=(1.0, 1.0), shear=0.0, flip=0.0, square=0.0, square_size=40
            )
        ),
    ],
)
def test_other_crops_refuse_planes(pairs, fields):
    pairs.data.crop = crop_group(size=32, **fields)
    (name,) = fields
    with pytest.raises(
        ValueError,
        match=f"config.data.crop.{name} cannot crop labels made from the alpha of the whole photo: "
        "use a config with config.data.crop.rescale or config.data.crop.corners",
    ):
        data.train_source(pairs, planes=PLANES)
