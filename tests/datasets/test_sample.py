"""The sample data set: its drawings, and how TFDS prepares and reads them."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from matting_jax.data.prepared import builders

SIZE = 192


builder_class = builders.builder_class(builders.CHECKOUT / "sample")
foregrounds, backgrounds, sample = (
    importlib.import_module(f"{builder_class.__module__.rpartition('.')[0]}.{name}")
    for name in ("foregrounds", "backgrounds", "sample")
)
KINDS = list(foregrounds.KINDS)


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Returns four drawings of each kind."""
    return {
        kind: [draw(np.random.default_rng([7, k]), SIZE) for k in range(4)]
        for kind, draw in foregrounds.KINDS.items()
    }


def _share(drawings, test) -> float:
    return float(np.mean([np.mean(test(alpha)) for _, alpha in drawings]))


def _between(alpha: np.ndarray) -> np.ndarray:
    return (alpha > 0.05) & (alpha < 0.95)


@pytest.mark.parametrize("kind", KINDS)
def test_foregrounds_have_shape_range_and_a_subject(drawn, kind):
    for rgb, alpha in drawn[kind]:
        assert rgb.shape == (SIZE, SIZE, 3)
        assert alpha.shape == (SIZE, SIZE)
        for image in (rgb, alpha):
            assert np.isfinite(image).all()
            assert image.min() >= 0.0 and image.max() <= 1.0
        assert 0.02 < alpha.mean() < 0.8
        assert (alpha == 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_draws_the_same_bytes(drawn, kind):
    for k in range(2):
        again = foregrounds.KINDS[kind](np.random.default_rng([7, k]), SIZE)
        for first, second in zip(drawn[kind][k], again, strict=True):
            assert first.tobytes() == second.tobytes()
    assert drawn[kind][0][1].tobytes() != drawn[kind][1][1].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_colours_continue_smoothly_where_alpha_is_zero(drawn, kind):
    for rgb, alpha in drawn[kind]:
        outside = ndimage.binary_erosion(alpha == 0, iterations=6)
        subject = rgb[alpha > 0.05]
        assert rgb[outside].min() >= subject.min(axis=0).min() - 1e-3
        assert rgb[outside].max() <= subject.max(axis=0).max() + 1e-3
        steps = np.abs(np.diff(rgb, axis=1))[outside[:, 1:] & outside[:, :-1]]
        assert steps.mean() < 0.02


@pytest.mark.parametrize("kind", ["hair", "fur"])
def test_strands_make_a_fractional_outline(drawn, kind):
    for _, alpha in drawn[kind]:
        solid = alpha > 0.95
        # A smooth outline of the same area has about as many fractional pixels as its perimeter.
        outline = 2.0 * np.sqrt(np.pi * solid.sum())
        assert _between(alpha).sum() > 1.5 * outline


@pytest.mark.parametrize("kind", ["glass", "smoke", "motion"])
def test_translucent_kinds_have_fractional_areas(drawn, kind):
    inner = [ndimage.binary_erosion(_between(alpha), iterations=3) for _, alpha in drawn[kind]]
    assert np.mean(inner) > 0.02
    assert _share(drawn[kind], _between) > 0.08


@pytest.mark.parametrize("kind", ["holes", "lace"])
def test_holes_and_lace_have_enclosed_holes(drawn, kind):
    counts = []
    for _, alpha in drawn[kind]:
        framed = np.pad(alpha < 0.5, 1, constant_values=True)
        counts.append(ndimage.label(framed)[1] - 1)
    assert sum(count > 0 for count in counts) >= 3
    assert sum(counts) >= (100 if kind == "lace" else 4)


def test_solid_objects_have_few_fractional_pixels(drawn):
    assert _share(drawn["solid"], _between) < 0.03
    assert _share(drawn["solid"], lambda alpha: alpha > 0.95) > 0.1


@pytest.mark.parametrize("scene", list(backgrounds.SCENES))
def test_scenes_have_structure_and_repeat_with_their_seed(scene):
    first, again = (backgrounds.SCENES[scene](np.random.default_rng(3), SIZE) for _ in range(2))
    assert first.shape == (SIZE, SIZE, 3)
    assert first.tobytes() == again.tobytes()
    assert first.min() >= 0.0 and first.max() <= 1.0
    assert first.std(axis=(0, 1)).max() > 0.03


def test_examples_repeat_and_differ_between_splits():
    first, again = (sample.draw_example("train", 6, SIZE) for _ in range(2))
    other = sample.draw_example("test", 6, SIZE)
    for key in ("foreground", "alpha", "background"):
        assert first[key].dtype == np.uint8
        assert first[key].tobytes() == again[key].tobytes()
        assert first[key].tobytes() != other[key].tobytes()
    assert first["kind"] == other["kind"] == "holes"
    assert (first["name"], other["name"]) == ("train_holes_006", "test_holes_006")


def test_grain_is_the_same_in_both_layers():
    alpha = np.ones((SIZE, SIZE), np.float32)
    flat = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    foreground, background = sample.photograph(np.random.default_rng(0), flat, alpha, flat)
    texture = [
        image - ndimage.gaussian_filter(image, (6, 6, 0)) for image in (foreground, background)
    ]
    assert texture[0].std() > 0.001
    np.testing.assert_allclose(texture[0], texture[1], atol=0.003)


def _prepared(folder: Path):
    builder = sample.Sample(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return builder


def _check_stored(builder, splits: dict[str, int]) -> None:
    for split, count in splits.items():
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for index in (0, count - 1):
            stored, expected = source[index], sample.draw_example(split, index)
            for key in ("foreground", "alpha", "background"):
                np.testing.assert_array_equal(stored[key], expected[key])
            name = stored["name"]
            assert (name.decode() if isinstance(name, bytes) else name) == expected["name"]


def test_prepared_examples_are_the_drawn_ones_in_order(tmp_path, monkeypatch):
    assert sample.SPLITS == {"train": 160, "test": 24}
    splits = {"train": 2, "test": 1}
    monkeypatch.setattr(sample, "SPLITS", splits)
    _check_stored(_prepared(tmp_path), splits)
