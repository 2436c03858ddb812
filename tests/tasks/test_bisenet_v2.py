"""BiSeNet V2's synthesis and evaluation."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image import trimap
from matting_jax.image.geometry import resize_bilinear
from matting_jax.metrics.segmentation import confusion
from matting_jax.tasks import bisenet_v2 as task
from tests.helpers import CONFIGS
from tests.tasks.cutouts import cutouts

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
