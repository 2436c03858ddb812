import numpy as np
import pytest

from matting_jax.data.crops import check_crop, find_rule
from tests.data.groups import crop_group

AFFINE = dict(rotation=30.0, scale=(0.8, 1.25), shear=10.0, flip=0.5, square=0.25, square_size=40)
RULES = {
    "rescale": dict(rescale=(24, 48)),
    "windows": dict(windows=(24, 32, 48)),
    "corners": dict(corners=(24, 32, 48)),
    "affine": dict(affine=AFFINE),
}


def group(size=32, around="unknown", **fields):
    return crop_group(size=size, around=around, **fields)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(size=0, rescale=(24, 48)), "config.data.crop.size"),
        (dict(around="everywhere", rescale=(24, 48)), "anywhere, foreground, unknown"),
        (dict(small="pad", corners=(24,)), "small is pad, but .*corners do not pad .* to enlarge"),
        (dict(max_short=9, rescale=(9, 9)), "max_short is 9, but .*rescale have no limit"),
        (dict(width=48, windows=(24,)), "config.data.crop.width is 48, but .*windows are square"),
        (dict(), "exactly one of rescale, windows, corners, affine, scales, but"),
        (dict(rescale=(24, 48), windows=(24,)), "has rescale and windows"),
        (dict(rescale=(48, 24)), "config.data.crop.rescale"),
        (dict(windows=()), "config.data.crop.windows"),
        (dict(windows=(32, 0)), "config.data.crop.windows"),
        (dict(corners=()), "config.data.crop.corners"),
        (dict(windows=(32,), small="padd"), "config.data.crop.small 'padd': did you mean 'pad'"),
        (
            dict(size=15, affine=AFFINE),
            "config.data.crop.size, with affine crops, must be at least 16, got 15",
        ),
        (dict(affine=AFFINE | dict(scale=(0.0, 1.0))), "config.data.crop.affine.scale"),
        (
            dict(affine=AFFINE | dict(flip=2)),
            "config.data.crop.affine.flip must be a probability .* got 2",
        ),
        (
            dict(affine=AFFINE | dict(square=-1)),
            "config.data.crop.affine.square must be a probability .* got -1",
        ),
        (dict(affine=AFFINE | dict(square_size=0)), "config.data.crop.affine.square_size"),
        (dict(affine=AFFINE | dict(shear=46)), "config.data.crop.affine.shear"),
        (dict(affine=AFFINE | dict(rotation=-1)), "config.data.crop.affine.rotation"),
    ],
)
def test_error_contains_the_invalid_field(wrong, message):
    with pytest.raises(ValueError, match=message):
        check_crop(group(**wrong))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("around", ["anywhere", "foreground", "unknown"])
@pytest.mark.parametrize("shape", [(7, 90), (33, 31), (120, 80)])
def test_crops_of_constant_images_are_constant(rule, around, shape):
    crop = group(around=around, **RULES[rule])
    check_crop(crop)
    foreground, background = np.full((*shape, 3), 77, np.uint8), np.full((20, 30, 3), 201, np.uint8)
    seen = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        alpha = np.full(shape, 128, np.uint8)
        cut = find_rule(crop).composite(rng, foreground, alpha, background, crop)
        assert {
            name: (cut[name].shape, cut[name].dtype.name)
            for name in ("foreground", "alpha", "background")
        } == {
            "foreground": ((32, 32, 3), "uint8"),
            "alpha": ((32, 32, 1), "uint8"),
            "background": ((32, 32, 3), "uint8"),
        }
        assert (cut["background"] == 201).all()
        assert set(np.unique(cut["alpha"])) <= {0, 128}
        inside = cut["alpha"][..., 0] > 0
        assert (cut["foreground"][inside] == 77).all()
        seen.add(inside.any())
    assert True in seen


@pytest.mark.parametrize("rule", ["rescale", "windows"])
def test_photo_and_its_alpha_are_cut_alike(rule):
    crop = group(**RULES[rule])
    for seed, shape in enumerate([(7, 90), (33, 31), (120, 80)]):
        rng = np.random.default_rng(seed)
        alpha = rng.integers(0, 256, shape, np.uint8)
        image = np.repeat(alpha[..., None], 3, -1)
        cut = find_rule(crop).photo(rng, image, alpha, crop)
        assert cut["alpha"].shape == (32, 32, 1) and cut["alpha"].std() > 10
        np.testing.assert_array_equal(cut["image"], np.repeat(cut["alpha"], 3, -1))
        alone = find_rule(crop).photo(np.random.default_rng(seed), image, None, crop)
        assert set(alone) == {"image"} and alone["image"].shape == (32, 32, 3)
