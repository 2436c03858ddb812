"""A run of a small network that predicts classes: its scores, its programs, and shares of it."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
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
from matting_jax.models import bisenet_v2
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dropout import dropout
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.predict import predict
from matting_jax.tasks import bisenet_v2 as task
from matting_jax.training.state import initial_variables, training_model
from matting_jax.training.train import train
from matting_jax.workdir import checkpoint
from tests import flags
from tests.helpers import CONFIGS, train_on_one_and_eight, use_folders
from tests.tasks.cutouts import cutouts
from tests.tiny import register


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
    config = load_config(CONFIGS / "bisenet_v2.py", "")
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
    config = load_config(CONFIGS / "bisenet_v2.py", "cityscapes")
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
    monkeypatch.setenv("XLA_FLAGS", flags.devices(8))
    subprocess.run([sys.executable, "-m", "tests.tasks.test_bisenet_v2_run"], check=True)


if __name__ == "__main__":
    compare_devices()
