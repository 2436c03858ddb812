"""Data sets are prepared from the owners' folders, and missing files are listed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from matting_jax import data
from matting_jax.config import load_config
from matting_jax.data.prepared import builders
from matting_jax.image.foreground import multilevel
from tests.datasets.layouts import config_of
from tests.datasets.layouts.by_name import draw
from tests.helpers import ROOT

CROP = dict(windows=(32,), around="unknown")

# config, split: the folder, and the subfolder of each feature
PARTS = {
    ("am2k", "train"): ("AM-2k/train", {"image": "original", "alpha": "mask"}),
    ("am2k/validation", "validation"): (
        "AM-2k/validation",
        {"image": "original", "alpha": "mask", "trimap": "trimap"},
    ),
    ("bg20k", "train"): ("BG-20k", {"background": "train"}),
    ("bg20k", "testval"): ("BG-20k", {"background": "testval"}),
    ("bg20k/denoised", "train"): (
        "BG-20k",
        {"background": "train", "background_denoised": "train_denoise"},
    ),
    ("p3m10k", "train"): ("P3M-10k/train", {"image": "blurred_image", "alpha": "mask"}),
    ("p3m10k/foregrounds", "train"): ("P3M-10k/train", {"foreground": "fg", "alpha": "mask"}),
    ("p3m10k/validation", "p3m_500_p"): (
        "P3M-10k/validation/P3M-500-P",
        {"image": "blurred_image", "alpha": "mask", "trimap": "trimap"},
    ),
    ("p3m10k/validation", "p3m_500_np"): (
        "P3M-10k/validation/P3M-500-NP",
        {"image": "original_image", "alpha": "mask", "trimap": "trimap"},
    ),
    ("ppm100", "test"): ("PPM-100", {"image": "image", "alpha": "matte"}),
    ("aim500", "test"): ("AIM-500", {"image": "original", "alpha": "mask", "trimap": "trimap"}),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Returns the folder of all data sets, which tests must not change."""
    folder = tmp_path_factory.mktemp("prepared")
    draw(folder / "downloads" / "manual")
    return folder


@pytest.mark.parametrize(("name", "split"), PARTS)
def test_records_are_the_files_sorted_by_name(prepared, name, split):
    place, folders = PARTS[name, split]
    builder = builders.load_builder(name, str(prepared))
    records = builders.records(builder, split)
    assert builder.info.features.keys() == {*folders, "name"}
    paths = {
        part: sorted((prepared / "downloads/manual" / place / folder).glob("*.*g"))
        for part, folder in folders.items()
    }
    assert len(records) == len(next(iter(paths.values()))) > 0
    for number, record in enumerate(records):
        for part, same in paths.items():
            assert record[part] == same[number].read_bytes()
            assert record["name"].decode() == same[number].stem


def test_foreground_colours_are_estimated_without_the_owners_folder(prepared):
    train = dict(dataset="am2k/foregrounds_denoised", background_dataset="bg20k/denoised")
    config = config_of(prepared, CROP, train, test={})
    source = data.train_source(config, denoised=True)
    assert source.description.startswith("3 foregrounds, 3 backgrounds, am2k/")
    folder = prepared / "downloads/manual/AM-2k/train"
    for layer, photos in ((source, "original"), (source.denoised, "original_denoise")):
        for path, (colours, alpha) in zip(
            sorted((folder / photos).glob("*.*g")), layer.foregrounds, strict=True
        ):
            mask = np.asarray(Image.open(folder / "mask" / f"{path.stem}.png"))
            np.testing.assert_array_equal(alpha, mask)
            np.testing.assert_array_equal(colours, multilevel(np.asarray(Image.open(path)), mask))
    quiet = sorted((prepared / "downloads/manual/BG-20k/train_denoise").glob("*.png"))
    np.testing.assert_array_equal(source.denoised.backgrounds[1], np.asarray(Image.open(quiet[1])))


@pytest.mark.parametrize(
    ("variant", "channels"),
    [
        ("am2k_ori", {"image", "alpha"}),
        (
            "am2k_comp_rssn",
            {"foreground", "alpha", "background", "foreground_denoised", "background_denoised"},
        ),
    ],
)
def test_gfm_recipes_find_their_data(prepared, variant, channels):
    config = load_config(ROOT / "configs" / "gfm.py", variant)
    config.data.directory = str(prepared)
    source = data.train_source(config, denoised=config.synthesis.rssn.denoise > 0)
    assert len(source) == 3 and source.channels.keys() == channels
    assert [image.name for image in data.evaluation_images(config)] == ["m_4d", "m_5e"]


def test_test_images_have_the_owners_trimap(prepared):
    config = config_of(prepared, CROP, train={}, test=dict(dataset="aim500"))
    (image, _) = data.evaluation_images(config)
    assert image.name == "o_1" and image.trimap.shape == image.alpha.shape


def test_a_data_set_without_denoised_copies_is_an_error(prepared):
    train = dict(dataset="am2k/foregrounds", background_dataset="bg20k")
    config = config_of(prepared, CROP, train, test={})
    with pytest.raises(ValueError, match="am2k/foregrounds has no denoised copies.*denoise=0"):
        data.train_source(config, denoised=True)


@pytest.mark.parametrize(
    ("name", "homepage"),
    [
        ("am2k/validation", "GFM"),
        ("bg20k/denoised", "GFM"),
        ("p3m10k/validation", "P3M"),
        ("ppm100", "PPM"),
        ("aim500", "AIM"),
    ],
)
def test_all_missing_files_are_listed_with_instructions(tmp_path, name, homepage):
    with pytest.raises(ValueError, match=rf"does not exist or is empty.*github.com/.*/{homepage}"):
        builders.load_builder(name, str(tmp_path))
    manual = draw(tmp_path / "downloads" / "manual")
    own = name.partition("/")[0]
    gone = {
        "am2k": ["AM-2k/validation/trimap/m_5e.png", "AM-2k/validation/original/m_4d.jpg"],
        "bg20k": ["BG-20k/train_denoise/h_2.png"],
        "p3m10k": ["P3M-10k/validation/P3M-500-NP/mask/p_5.png"],
        "ppm100": ["PPM-100/image/9_a_o.jpg"],
        "aim500": ["AIM-500/original/o_1.jpg"],
    }[own]
    for path in gone:
        (manual / path).unlink()
    names = [path.rpartition(".")[0] for path in gone]
    if own == "p3m10k":  # the only file of the folder
        names = ["P3M-10k/validation/P3M-500-NP/mask/*"]
    with pytest.raises(ValueError, match=f"{own} lacks {len(gone)} files or folders") as error:
        builders.load_builder(name, str(tmp_path))
    assert all(f"{manual / path}.*\n" in str(error.value) for path in names)
    assert f"/{homepage} " in str(error.value)
    folder = (manual / gone[0]).parent
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match=f"(?s)lacks . files or folders:.*{folder}\n"):
        builders.load_builder(name, str(tmp_path))


def test_features_of_different_sizes_are_an_error(tmp_path):
    manual = draw(tmp_path / "downloads" / "manual")
    Image.new("L", (9, 8)).save(manual / "PPM-100/matte/9_a_o.jpg")
    with pytest.raises(ValueError, match="9_a_o.jpg has 36 x 40 pixels, but .* has 9 x 8"):
        builders.load_builder("ppm100", str(tmp_path))
