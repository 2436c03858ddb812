"""Labels of photos, by --mode predict for runs that learn given classes."""

from dataclasses import replace

import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from matting_jax.commandline import main
from matting_jax.config import load_config
from matting_jax.convert.files import write_state_dict
from matting_jax.metrics.segmentation import PROTOCOLS
from matting_jax.models import NETWORKS, bisenet_v2
from matting_jax.models.layers.convolutions import Conv
from matting_jax.workdir.claim import claim
from tests.helpers import CONFIGS
from tests.tiny import register

CONFIG = CONFIGS / "bisenet_v2.py"
# Of length 30 and sum 0, so that the class depends on the hue.
WEIGHTS = np.random.default_rng(0).normal(size=(19, 3, 1, 1)).astype(np.float32)
WEIGHTS -= WEIGHTS.mean(1, keepdims=True)
WEIGHTS *= 30 / np.linalg.norm(WEIGHTS, axis=1, keepdims=True)
# The label ids of Cityscapes' 19 classes: road, sidewalk, building, ..., motorcycle, bicycle.
CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


class TinyLabels(nn.Module):
    """Logits that are a linear function of the colours."""

    num_classes: int = 19
    statistics: str = "cityscapes"
    axis_name: str | None = None
    frozen_statistics: bool = False

    @nn.compact
    def __call__(self, image, *, train=False):
        return {"logits": Conv(self.num_classes, 1, use_bias=False, name="head")(image)}


@pytest.fixture(autouse=True)
def network():
    register("tiny_labels", replace(bisenet_v2.NETWORK, module=TinyLabels))
    yield
    del NETWORKS["tiny_labels"]


def make_run(folder, config, classes=19):
    config.name, config.allocator, config.compilation_cache = "tiny_labels", False, ""
    config.model = dict(num_classes=classes, statistics="cityscapes")
    claim(folder / "run", config)
    write_state_dict(folder / "run.safetensors", {"module.head.weight": WEIGHTS[:classes]})


@pytest.fixture
def cityscapes():
    return load_config(CONFIG, "cityscapes")


@pytest.fixture
def photos(tmp_path):
    """{name: uint8 [H, W, 3]} of the photos in tmp_path/photos, which also holds a broken one."""
    rng = np.random.default_rng(1)
    sizes = {"a": (65, 90), "sub/b": (1, 1), "c": (32, 64)}
    images = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in sizes.items()}
    for name, image in images.items():
        path = tmp_path / "photos" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (tmp_path / "photos" / "broken.jpg").write_text("dear")
    return images


@pytest.fixture
def predict(tmp_path):
    def run(*more):
        flags = [f"--workdir={tmp_path / 'run'}", f"--checkpoint={tmp_path / 'run.safetensors'}"]
        flags += [f"--input={tmp_path / 'photos'}", f"--output={tmp_path / 'out'}"]
        return main(["launch.py", "--mode=predict", *flags, *more], "")

    return run


def classify(image):
    return image.astype(np.float64) @ WEIGHTS[:, :, 0, 0].T


def check(path, numbers, classes):
    with Image.open(path) as label:
        assert label.mode == "L"
        np.testing.assert_array_equal(label, np.uint8(numbers)[classes])


def test_cityscapes_labels_hold_its_label_ids(predict, photos, cityscapes, tmp_path, capsys):
    make_run(tmp_path, cityscapes)
    assert predict() == 1
    out = tmp_path / "out"
    assert sorted(str(x.relative_to(out)) for x in out.rglob("*.png")) == [
        "a.png",
        "c.png",
        "sub/b.png",
    ]
    text = capsys.readouterr()
    assert "3 of 4 photos" in text.out and "broken.jpg" in text.err
    for name, image in photos.items():
        scores = PROTOCOLS["ss"](classify, image / np.float32(255), 0, (0, 0, 0))
        check(out / f"{name}.png", CITYSCAPES, scores.argmax(-1))
    # Multiples of 32 are predicted as they are, whose classes are those of each pixel's colours.
    check(out / "c.png", CITYSCAPES, classify(photos["c"] / 255).argmax(-1))
    assert len(np.unique(np.asarray(Image.open(out / "c.png")))) > 5


def test_labels_follow_the_protocol_of_the_config(predict, photos, cityscapes, tmp_path):
    make_run(tmp_path, cityscapes)
    (tmp_path / "photos" / "broken.jpg").unlink()
    for flags in (["--config.test.way=half"], ["--config.task.evaluation=msf"]):
        assert predict(*flags, "--overwrite") == 0
        image = photos["a"] / np.float32(255)
        if "half" in flags[0]:
            small = bisenet_v2.resize_bilinear(image, 64, 64)  # 65 and 90, halved and rounded up
            scores = bisenet_v2.resize_bilinear(classify(small).astype(np.float32), 65, 90)
        else:
            scores = PROTOCOLS["msf"](classify, image, 0, (0, 0, 0))
        label = np.asarray(Image.open(tmp_path / "out" / "a.png"))
        # Rounding may decide between two classes.
        assert (label == np.uint8(CITYSCAPES)[scores.argmax(-1)]).mean() > 0.995
    assert predict("--config.test.way=quarter", "--overwrite") == 2
    assert predict("--config.test.way=half", "--config.task.evaluation=ssc", "--overwrite") == 2


def test_other_data_keeps_its_own_numbers(predict, photos, cityscapes, tmp_path):
    cityscapes.data.train.images = "streets"
    make_run(tmp_path, cityscapes, 5)
    assert predict() == 1
    label = np.asarray(Image.open(tmp_path / "out" / "c.png"))
    expected = classify(photos["c"] / 255)[..., :5].argmax(-1)
    np.testing.assert_array_equal(label, expected)
    assert {*np.unique(label)} <= {*range(5)}


def test_options_of_alphas_are_refused_in_one_line(predict, photos, cityscapes, tmp_path, capsys):
    make_run(tmp_path, cityscapes)
    for flags in (
        ["--foreground=none"],
        ["--foreground=multilevel"],
        ["--bits=16"],
        ["--align"],
        [f"--trimap={tmp_path}"],
        [f"--background={tmp_path}"],
        [f"--trimap_from={tmp_path}"],
    ):
        assert predict(*flags) == 2
        error = capsys.readouterr().err
        assert "writes the class of each pixel, not an alpha: omit " in error
        assert flags[0].partition("=")[0] in error and error.count("\n") == 1
    assert predict("--bits=16", "--align") == 2
    assert "omit --align, --bits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_are_replaced_only_with_overwrite(predict, photos, cityscapes, tmp_path, capsys):
    make_run(tmp_path, cityscapes)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    assert predict() == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["a.png"]
    assert predict("--existing=keep") == 1
    assert (tmp_path / "out" / "c.png").is_file()
    assert Image.open(tmp_path / "out" / "a.png").size == (90, 65)
    (tmp_path / "out" / "a.png").write_text("mine")
    assert predict("--overwrite") == 1
    assert Image.open(tmp_path / "out" / "a.png").size == (90, 65)


def test_photos_are_not_replaced_by_their_labels(predict, photos, cityscapes, tmp_path, capsys):
    make_run(tmp_path, cityscapes)
    for file in (tmp_path / "photos").rglob("*.*"):
        file.unlink()
    photo = tmp_path / "photos" / "a.png"
    Image.fromarray(photos["a"]).save(photo)
    before = photo.read_bytes()
    assert predict(f"--output={tmp_path / 'photos'}", "--overwrite") == 2
    assert f"the result of {photo} would replace it: choose" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_more_classes_than_numbers_raise(predict, photos, cityscapes, tmp_path, capsys):
    make_run(tmp_path, cityscapes, 19)
    assert predict("--config.model.num_classes=20") == 2
    assert "have 19 classes, but config.model.num_classes is 20" in capsys.readouterr().err


def test_run_that_learns_trimaps_writes_no_labels(predict, photos, tmp_path, capsys):
    make_run(tmp_path, load_config(CONFIG, "trimap"), 3)
    assert predict() == 2
    assert "pass this one's run as --trimap_from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
