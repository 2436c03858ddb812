"""BiSeNet V2's synthesis and evaluation."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from matting_jax import models
from matting_jax.config import load_config
from matting_jax.data import EvaluationImage
from matting_jax.data.sources import Lazy
from matting_jax.evaluation.counts import count_images
from matting_jax.evaluation.evaluate import Options, evaluate
from matting_jax.image import trimap
from matting_jax.image.geometry import resize_bilinear
from matting_jax.metrics.segmentation import confusion
from matting_jax.models import bisenet_v2
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dropout import dropout
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.predict import predict
from matting_jax.tasks import bisenet_v2 as task
from matting_jax.training.state import initial_variables, training_model
from matting_jax.training.train import train
from matting_jax.workdir import checkpoint
from tests.helpers import CONFIGS, compile_quickly, train_on_one_and_eight, use_folders
from tests.tiny import register

CONFIG = CONFIGS / "bisenet_v2.py"


def still(config):
    """Returns `config` without jitter."""
    for name in config.synthesis.jitter:
        config.synthesis.jitter[name] = 0.0
    return config


@pytest.fixture(scope="module")
def trimaps():
    """A config of trimaps without jitter, and its jitted `synthesize`."""
    config = still(load_config(CONFIG, ""))
    config.synthesis.trimap_kernel = (3, 5)
    return config, jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))


def cutouts(size=64):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    alpha = np.rint(255 * np.clip((20 - np.hypot(y - 32, x - 26)) / 3, 0, 1)).astype(np.uint8)
    return {
        "foreground": rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8),
        "alpha": np.broadcast_to(alpha[..., None], (6, size, size, 1)),
        "background": rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8),
    }


def test_labels_are_trimaps_of_random_sizes_flipped_with_their_composites(trimaps):
    config, synthesize = trimaps
    batch = cutouts()
    inputs, truth = synthesize(jax.random.split(jax.random.key(0), 6), batch)
    alpha = batch["alpha"][0] / np.float32(255)
    smallest, largest = config.synthesis.trimap_kernel
    sizes = range(smallest, largest + 1)
    maps = {
        (a, b): np.asarray(2 * trimap.gca(jnp.asarray(alpha), a, b, largest)[..., 0], np.int32)
        for a in sizes
        for b in sizes
    }
    flips, found = [], set()
    for i in range(6):
        image = (alpha * batch["foreground"][i] + (1 - alpha) * batch["background"][i]) / 255
        flip = not np.allclose(inputs["image"][i], image, atol=1 / 255)
        flips.append(flip)
        step = -1 if flip else 1
        np.testing.assert_allclose(inputs["image"][i][:, ::step], image, atol=0.51 / 255)
        label = np.asarray(truth["label"][i][:, ::step])
        fitting = [size for size, other in maps.items() if np.array_equal(label, other)]
        assert fitting
        found.update(fitting[:1])
    assert 0 < sum(flips) < 6 and len(found) > 2


def test_photos_with_alpha_are_not_composited(trimaps):
    batch = cutouts()
    keys = jax.random.split(jax.random.key(0), 6)
    _, expected = trimaps[1](keys, batch)
    photos = {"image": batch["foreground"], "alpha": batch["alpha"]}
    inputs, truth = task.synthesize(keys, photos, trimaps[0])
    np.testing.assert_array_equal(truth["label"], expected["label"])
    for image, photo in zip(inputs["image"], batch["foreground"] / np.float32(255), strict=True):
        assert any(np.allclose(image[:, ::step], photo, atol=1e-6) for step in (1, -1))


def test_given_classes_are_flipped_with_their_photos_and_keep_ignored_pixels():
    config = still(load_config(CONFIG, "cityscapes"))
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (4, 8, 10, 3), dtype=np.uint8),
        "label": rng.choice(np.array([0, 7, 18, 255], np.uint8), (4, 8, 10, 1)),
        "index": np.arange(4),
    }
    keys = jax.random.split(jax.random.key(1), 4)
    inputs, truth = task.synthesize(keys, batch, config)
    steps = []
    for i in range(4):
        step = -1 if np.allclose(inputs["image"][i][:, ::-1], batch["image"][i] / 255) else 1
        np.testing.assert_allclose(inputs["image"][i][:, ::step], batch["image"][i] / 255, 1e-6)
        np.testing.assert_array_equal(truth["label"][i][:, ::step], batch["label"][i, ..., 0])
        steps.append(step)
    assert set(steps) == {1, -1}


def test_each_sample_depends_only_on_its_own_key():
    config, batch = load_config(CONFIG, ""), cutouts()
    synthesize = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))
    keys = jax.random.split(jax.random.key(0), 6)
    order = np.array([2, 0, 5, 3, 1, 4])
    first = synthesize(keys, batch)
    again = synthesize(keys[order], {name: x[order] for name, x in batch.items()})
    for inputs, _ in (first, again):
        inputs["keys"] = jax.random.key_data(inputs["keys"])
    before, after = jax.tree.leaves(first), jax.tree.leaves(again)
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x[order], y)
    all_keys = np.concatenate([first[0]["keys"], jax.random.key_data(keys)])
    assert len(np.unique(all_keys, axis=0)) == 12


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("task.labels", "trimaps", "did you mean 'trimap'"),
        ("task.evaluation", "ms", "did you mean 'msf'"),
        ("test.way", "halve", "did you mean 'half'"),
        ("model.num_classes", 19, "set --config.model.num_classes=3"),
    ],
)
def test_invalid_config_raises(field, value, message):
    config = load_config(CONFIG, "trimap")
    task.check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        task.check(config)


def matter_of(channels, statistics="cityscapes"):
    """Makes a network whose logits are 100 times the image's first channels."""

    def apply(head, image):
        return {"logits": 100 * image[..., :channels]}[head]

    return SimpleNamespace(apply=apply, model=SimpleNamespace(statistics=statistics))


def test_mean_iou_is_computed_over_the_pixels_of_all_images():
    config = load_config(CONFIG, "cityscapes")
    config.model.num_classes = 3
    rng = np.random.default_rng(0)
    matrix, images = 0, []
    for i in range(3):
        image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
        label = rng.choice(np.array([0, 1, 2, 255], np.uint8), (64, 32), p=(0.7, 0.1, 0.1, 0.1))
        images.append(SimpleNamespace(name=str(i), image=image, label=label))
        matrix += confusion(image.argmax(-1), label, 3)
    scores, pictures = task.evaluate(matter_of(3), images, config, 2)
    hits = np.diag(matrix)
    ious = [hits[i] / (matrix[i].sum() + matrix[:, i].sum() - hits[i] + 1) for i in range(3)]
    assert scores == pytest.approx(
        {"miou": np.mean(ious), **{f"iou_{i}": iou for i, iou in enumerate(ious)}}
    )
    assert len(pictures) == 2
    np.testing.assert_array_equal(pictures[1]["prediction"][..., 0], images[1].image.argmax(-1) / 2)


def enlarged_by_hand(x):
    """x [H, W, C] at twice its size: each sample and a quarter of its nearer neighbour."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        padded = np.concatenate([x[:1], x, x[-1:]])
        pair = (0.75 * x + 0.25 * padded[:-2], 0.75 * x + 0.25 * padded[2:])
        x = np.moveaxis(np.stack(pair, 1).reshape(-1, *x.shape[1:]), 0, axis)
    return x


def test_half_predicts_at_half_the_size_and_enlarges_the_logits():
    """As the paper: 1024 x 512 for photos of 2048 x 1024."""
    config = load_config(CONFIG, "cityscapes")
    config.model.num_classes, config.test.way = 3, "half"
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    label = rng.choice(np.array([0, 1, 2, 255], np.uint8), (64, 128))
    seen, network = [], matter_of(3)

    def apply(head, image):
        seen.append(image.shape)
        return network.apply(head, image)

    matter = SimpleNamespace(apply=apply, model=network.model)
    scores, pictures = task.evaluate(
        matter, [SimpleNamespace(name="0", image=image, label=label)], config, 1
    )
    assert seen == [(1, 32, 64, 3)]
    half = (image / 255).reshape(32, 2, 64, 2, 3).mean((1, 3))
    expected = enlarged_by_hand(100 * half).argmax(-1)
    np.testing.assert_array_equal(pictures[0]["prediction"][..., 0], expected / 2)
    ious = []
    for i in range(3):
        hits = ((expected == i) & (label == i)).sum()
        union = (((expected == i) & (label != 255)) | (label == i)).sum()
        ious.append(hits / (union + 1))
    assert scores["miou"] == pytest.approx(np.mean(ious))
    config.task.evaluation = "msf"
    with pytest.raises(ValueError, match="set --config.task.evaluation=ss or"):
        task.classify(matter, np.zeros((32, 32, 3), np.float32), config)


def test_half_rounds_odd_sizes_up_to_multiples_of_32():
    config = load_config(CONFIG, "cityscapes")
    config.test.way = "half"
    seen, network = [], matter_of(3)

    def apply(head, image):
        seen.append(image.shape[1:3])
        return network.apply(head, image)

    matter = SimpleNamespace(apply=apply, model=network.model)
    for size in ((65, 100), (1, 1), (1024, 2048)):
        photo = np.zeros((*size, 3), np.float32)
        assert task.classify(matter, photo, config).shape == size
    assert seen == [(64, 64), (32, 32), (512, 1024)]


def test_run_from_before_the_field_is_scored_at_full_size():
    config = load_config(CONFIG, "cityscapes")
    photo = np.random.default_rng(0).random((32, 64, 3), np.float32)
    full = task.classify(matter_of(3), photo, config)
    np.testing.assert_array_equal(full, photo.argmax(-1))
    with config.unlocked():
        del config.test
    np.testing.assert_array_equal(task.classify(matter_of(3), photo, config), full)
    task.check(config)


def test_trimaps_are_scored_at_the_network_size():
    config = load_config(CONFIG, "")
    config.test_time.short_side = 64
    alpha = cutouts()["alpha"][0, ..., 0]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    large = SimpleNamespace(
        image=image.repeat(2, 0).repeat(2, 1), alpha=alpha.repeat(2, 0).repeat(2, 1)
    )
    seen = resize_bilinear(np.float32(large.alpha[..., None]) / 255, 64, 64)
    truth = np.asarray(2 * trimap.gca(jnp.asarray(seen), 6, 6)[..., 0], int)
    matrix = confusion(image.argmax(-1), truth, 3)
    scores, _ = task.evaluate(matter_of(3), [large], config, 0)
    hits = np.diag(matrix)
    unknown = hits[1] / (matrix[1].sum() + matrix[:, 1].sum() - hits[1] + 1)
    assert scores["iou_unknown"] == pytest.approx(unknown)
    assert list(scores) == ["miou", "iou_background", "iou_unknown", "iou_foreground"]


class TinyClasses(nn.Module):
    """A network with BiSeNetV2's interface and two of its modules, which compiles in a second."""

    num_classes: int = 3
    statistics: str = "imagenet"
    dropout: float = 0.25
    dtype: object = None
    axis_name: str | None = None
    frozen_statistics: bool = False

    @nn.compact
    def __call__(self, image, keys=None, *, train=False):
        x = nn.relu(Conv(8, 3, 4, name="detail")(image))
        if train:
            x = dropout(x, keys, self.dropout)
        logits = Conv(self.num_classes, 1, name="head")(x)
        outputs = {"logits": bisenet_v2.upsample(logits, 4)}
        return outputs | {"aux2": outputs["logits"] / 2} if train else outputs


def register_tiny_classes():
    """Adds `tiny_classes` to the library's networks."""
    network = bisenet_v2.NETWORK
    modules = (*network.optional_modules, "segment")
    register("tiny_classes", replace(network, module=TinyClasses, optional_modules=modules))


def tiny_classes_config():
    """Returns configs/bisenet_v2.py for the tiny network and few steps."""
    config = load_config(CONFIG, "")
    config.name = "tiny_classes"
    config.model = dict(num_classes=3, statistics="imagenet", dropout=0.25)
    config.steps, config.batch_size, config.allocator = 6, 2, False
    config.optimizer.schedule.warmup_steps = 1
    return config


@pytest.fixture(scope="module")
def run(folders, compiled_once, tmp_path_factory):
    """(workdir, config) of a run of six steps on trimaps, evaluated every two steps."""
    register_tiny_classes()
    config = use_folders(tiny_classes_config(), folders, compiled_once)
    config.data.train.dataset = config.data.test.dataset = ""
    config.data.crop.size, config.test_time.short_side = 32, 32
    config.data.crop.rescale = (40, 60)
    config.log_every = config.evaluate_every = 2
    workdir = tmp_path_factory.mktemp("classes") / "run"
    with compile_quickly():
        train(config, workdir)
    yield workdir, config
    del models.NETWORKS["tiny_classes"]


def scores_of(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["test_miou"] for line in lines if "test_miou" in line}


def test_run_keeps_the_checkpoint_with_the_largest_mean_iou(run):
    workdir, _ = run
    scores = scores_of(workdir)
    assert [*scores] == [0, 2, 4, 6] and len(set(scores.values())) > 1
    found, damaged = checkpoint.read_scores(
        checkpoint.open_checkpoints(workdir, task.TASK.score, reading=True), task.TASK.score
    )
    assert not damaged
    assert min(found.values()) == pytest.approx(1 - max(list(scores.values())[1:]))


def test_evaluation_writes_mean_iou_and_pictures(run, capsys):
    workdir, config = run
    means = evaluate(config, workdir)
    folder = workdir / "evaluation" / "best"
    assert means["miou"] == pytest.approx(max(list(scores_of(workdir).values())[1:]))
    assert means["miou"] == pytest.approx(
        np.mean([means[f"iou_{name}"] for name in task.TRIMAP_CLASSES])
    )
    with (folder / "scores.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["miou"]) == means["miou"]
    assert Image.open(folder / "preview.png").size[0] == 3 * 192
    assert f"miou {means['miou']:.4f}" in capsys.readouterr().out
    assert evaluate(config, workdir, options=Options(overwrite=True)) == means


def test_programs_that_need_alpha_reject_a_segmentation_network(run, tmp_path):
    workdir, config = run
    with pytest.raises(ValueError, match="--save writes alphas, but tiny_classes predicts none"):
        evaluate(config, workdir, output=str(tmp_path / "scores"), options=Options(save=True))
    with pytest.raises(ValueError, match="tiny_classes predicts classes, not an alpha"):
        predict(config, workdir, "photos", str(tmp_path / "alphas"))


def test_shares_give_the_scores_and_pictures_of_one(run, tmp_path, capsys):
    workdir, config = run
    means = evaluate(config, workdir, output=str(tmp_path / "one"))

    def share(number):
        options = Options(shard=f"{number}/4")
        return evaluate(config, workdir, output=str(tmp_path / "shares"), options=options)

    first = share(1)
    assert first == {} or first.keys() == means.keys()
    for number in (4, 2, 4):  # one comes again and replaces itself
        share(number)
        assert f"share {number}/4 is measured" in capsys.readouterr().out
        assert not (tmp_path / "shares").exists()
    assert share(3) == means
    for name in ("scores.csv", "preview.png"):
        expected = (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "shares" / name).read_bytes() == expected
    assert sorted(x.name for x in tmp_path.iterdir()) == ["one", "shares"]


def compare_counts(variables):
    """Checks that eight devices count what one counts, of photos of files and of a data set."""
    config = load_config(CONFIG, "cityscapes")
    config.model.num_classes, config.task.evaluation = 3, "msf"
    matter = Matter("tiny_classes", variables, num_classes=3)
    rng = np.random.default_rng(0)
    images = [
        EvaluationImage(
            str(i),
            rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            None,
            label=rng.integers(0, 3, size, dtype=np.uint8),
        )
        for i, size in enumerate([(40, 60), (64, 64), (40, 60)] * 3)
    ]
    expected, pictures = task.evaluate(matter, images, config, 2)
    assert {x.count for x in matter.programs.compiled} == {1}
    with TemporaryDirectory() as folder:
        files = [Path(folder, f"{image.name}.png") for image in images]
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image.image).save(file)
        for source in (images, Lazy(range(9), images.__getitem__, photo=files.__getitem__)):
            counts, drawn = count_images(task.evaluate, matter, source, config, 2)
            assert task.evaluate.score(counts, config) == expected
            for one, other in zip(pictures, drawn, strict=True):
                jax.tree.map(np.testing.assert_array_equal, one, other)
    assert {x.count for x in matter.programs.compiled} == {1, 3, 6, 8}


def compare_devices():
    """Checks that eight devices drop the same features and find the same hard pixels as one."""
    register_tiny_classes()
    config = tiny_classes_config()
    config.optimizer.module_rates = dict(head=10.0)
    model = training_model(config)
    initial = jax.device_get(initial_variables(config, model))
    compare_counts(initial)
    jax.config.update("jax_enable_x64", True)
    initial = jax.tree.map(np.float64, initial)
    batch = {name: np.resize(x, (16, 64, 64, x.shape[-1])) for name, x in cutouts().items()}
    batch["index"] = np.arange(16, dtype=np.int32)
    one = train_on_one_and_eight(config, model, initial, batch)
    assert not np.array_equal(
        one["state"]["params"]["head"]["kernel"], initial["params"]["head"]["kernel"]
    )


@pytest.mark.slow
def test_eight_devices_equal_one(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    subprocess.run([sys.executable, "-m", "tests.tasks.test_bisenet_v2"], check=True)


if __name__ == "__main__":
    compare_devices()
