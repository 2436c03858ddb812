"""BiSeNet V2 against the official code."""

import json
import re
import shlex
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.config import load_config, override
from matting_jax.models import bisenet_v2
from matting_jax.models.cost import forward_cost
from matting_jax.tasks import bisenet_v2 as task
from matting_jax.training.optimizer import create_optimizer
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, ROOT, run_rule

CONFIG = CONFIGS / "bisenet_v2.py"
AUX = ("aux2", "aux3", "aux4", "aux5_4")


def official_tensors(golden, manifest, seed):
    """The checkpoint of a golden, scaled to keep activations near 1; see goldens/README.md."""
    tensors = synth.state_dict(str(GOLDENS / manifest), seed)
    for name, power in json.loads((GOLDENS / "bisenet_v2_scale.json").read_text()):
        tensors[name] = tensors[name] * np.float32(2.0**power)
    biases = {key.removeprefix("ckpt/"): golden[key] for key in golden if key.startswith("ckpt/")}
    return tensors | biases


def captured(name):
    """The path of a golden's feature among the network's intermediates, and its slice there."""
    path, region = {
        "stem": ("segment S1S2", np.s_[:, ::2, ::2]),
        "s3": ("segment S3_1", np.s_[..., ::2]),
        "s5_4": ("segment S5_4_3", np.s_[..., ::4]),
        "s5_5": ("segment S5_5", np.s_[..., ::4]),
        "detail": ("detail", np.s_[..., ::8]),
        "bga": ("bga", np.s_[..., ::8]),
        "bga_right1": ("bga right1_1", np.s_[..., ::8]),
    }[name]
    return path.split(), region


def compare(golden, model, variables, image):
    """Compares the features of `golden` with those of `model` and returns its logits."""

    @jax.jit
    def forward(variables, image):
        return model.apply(variables, image=image, capture_intermediates=True)

    outputs, intermediates = forward(variables, image)
    for name in ("stem", "s3", "s5_4", "s5_5", "detail", "bga", "bga_right1"):
        path, region = captured(name)
        tree = intermediates["intermediates"]
        for part in path:
            tree = tree[part]
        feature = tree["__call__"][0][region]
        np.testing.assert_allclose(feature, golden[name], atol=1e-4, err_msg=name)
    assert list(outputs) == ["logits"]
    return np.asarray(outputs["logits"])


def check_classes(logits, classes):
    """Compares classes where the best logit leads by more than rounding, which most do."""
    best, second = np.moveaxis(np.sort(logits, axis=-1)[..., :-3:-1], -1, 0)
    clear = best - second > 1e-3
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(logits.argmax(-1)[clear], classes[clear])


@pytest.mark.parametrize("form", ["cpu", "lax"])
def test_forward_equals_official(form):
    golden = np.load(GOLDENS / "bisenet_v2_64x96_s0.npz")
    variables = mj.from_state_dict("bisenet_v2", official_tensors(golden, "bisenet_v2.json", 0))
    model = mj.create_model("bisenet_v2", form=form)
    logits = compare(golden, model, variables, synth.image(64, 96, 3, 1, 0))
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)
    check_classes(logits, golden["pred"])


def test_three_classes_equal_official():
    golden = np.load(GOLDENS / "bisenet_v2_c3_64x64_s3.npz")
    tensors = official_tensors(golden, "bisenet_v2_c3.json", 3)
    variables = mj.from_state_dict("bisenet_v2", tensors, num_classes=3)
    model = mj.create_model("bisenet_v2", num_classes=3)
    logits = compare(golden, model, variables, synth.image(64, 64, 3, 1, 3))
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)
    check_classes(logits, golden["pred"])


def test_test_time_rule_equals_official_demo():
    golden = np.load(GOLDENS / "bisenet_v2_demo_70x100_s1.npz")
    variables = mj.from_state_dict("bisenet_v2", official_tensors(golden, "bisenet_v2.json", 1))
    photo = synth.image(70, 100, 3, 1, 1)[0]
    matter = mj.Matter("bisenet_v2", variables)
    image = run_rule(matter.rule, image=photo)[1]["logits"]["image"]
    assert image.shape == (1, 96, 128, 3)
    mean, deviation = map(np.float32, bisenet_v2.STATISTICS["cityscapes"])
    normalised = (image - mean) / deviation
    np.testing.assert_allclose(normalised[:, ::2, ::2], golden["resized_input"], atol=1e-5)
    logits = matter.apply("logits", image=image)
    np.testing.assert_allclose(logits[:, ::4, ::4], golden["logits"], atol=1e-4)
    probabilities = matter(photo)
    expected = np.exp(golden["logits_demo"][0].astype(np.float64))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert probabilities.dtype == np.float32
    check_classes(np.log(probabilities[None]), golden["pred_demo"])


@pytest.mark.parametrize(
    "photo, short_side, network",
    [
        ((70, 100), 0, (96, 128)),
        ((1024, 2048), 0, (1024, 2048)),
        ((1, 33), 0, (32, 64)),
        ((480, 640), 640, (640, 864)),
        ((1000, 500), 96, (192, 96)),
        ((1, 1), 96, (96, 96)),
    ],
)
def test_network_size_is_rounded_up_after_the_short_side_is_set(photo, short_side, network):
    assert bisenet_v2.network_size(*photo, short_side) == network
    assert bisenet_v2.network_size(*photo[::-1], short_side) == network[::-1]


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def shapes_of(**keywords):
    model = mj.create_model("bisenet_v2", **keywords)
    return model, jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


@pytest.mark.parametrize(
    "classes, parameters, inference", [(19, 5_231_487, 3_358_627), (3, 5_193_263, 3_342_227)]
)
def test_parameter_count_equals_official(classes, parameters, inference):
    _, shapes = shapes_of(num_classes=classes)
    assert count(shapes["params"]) == parameters
    _, without = shapes_of(num_classes=classes, booster=False)
    assert count(without["params"]) == inference
    sizes = {name: count(shapes["params"][name]) for name in ("detail", "segment", "bga")}
    assert sizes == {"detail": 519_232, "segment": 1_159_504, "bga": 478_720}


def test_multiply_adds_equal_official():
    """12.30 G multiply-adds at 512 x 512."""
    model, shapes = shapes_of()
    image = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)
    cost = forward_cost(model, shapes, {"image": image})
    assert cost / 1e9 == pytest.approx(12.30, abs=0.01)


@pytest.mark.slow
def test_booster_heads_of_chosen_positions_equal_those_of_all():
    image = jnp.asarray(synth.image(32, 32, 3, 2, 0))
    full = mj.create_model("bisenet_v2", num_classes=3, dropout=0.0)
    some = full.clone(booster_positions=("aux4", "aux2"))
    variables = jax.jit(full.init)(jax.random.key(0), image)
    kept = [name for name in variables["params"] if name not in ("aux3", "aux5_4")]
    fewer = {x: {y: variables[x][y] for y in kept} for x in variables}
    outputs = [
        jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(v, image)[0]
        for model, v in ((full, variables), (some, fewer))
    ]
    shapes = jax.eval_shape(some.init, jax.random.key(0), image)
    assert shapes["params"].keys() == {*kept} and shapes["params"].keys() >= {"aux2", "aux4"}
    assert outputs[1].keys() == {"logits", "aux2", "aux4"}
    for name, logits in outputs[1].items():
        np.testing.assert_allclose(logits, outputs[0][name], atol=1e-4 * np.abs(logits).max())
    label = np.random.default_rng(0).integers(0, 3, (2, 32, 32))
    config = load_config(CONFIG, "")
    total, terms = task.loss(outputs[1], {}, {"label": label}, config)
    assert terms.keys() == {"logits", "aux2", "aux4"}
    by_hand = [hard_pixels_by_hand(logits, label) for logits in outputs[1].values()]
    assert float(total) == pytest.approx(sum(by_hand), rel=1e-5)


@pytest.mark.slow
def test_every_row_of_the_ablation_table_is_a_network():
    page = (ROOT / "docs" / "bisenet_v2.md").read_text()
    _, rows = page.split("## Ablations")
    flags = re.findall(r"`(--config\.[^`]+)`", rows)
    assert len(flags) >= 12
    for flag in flags:
        config = override(load_config(CONFIG, "cityscapes"), shlex.split(flag))
        task.check(config)
        shapes_of(**config.model)


def hard_pixels_by_hand(logits, label):
    """The mean cross-entropy of pixels with a lower probability than 0.7, at least 1 in 16."""
    z = np.asarray(logits, np.float64)
    log = np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1)) + z.max(-1)
    losses = np.sort((log - np.take_along_axis(z, label[..., None], -1)[..., 0]).ravel())[::-1]
    return losses[: max((losses > -np.log(0.7)).sum(), losses.size // 16)].mean()


def test_four_parameter_groups_have_their_own_learning_rate_and_decay():
    """Group sizes equal the official optimizer's; variants may omit optional modules."""
    config = load_config(CONFIG, "cityscapes")
    config.optimizer.schedule.update(dict(name="constant", warmup_steps=0))
    for keywords in ({}, {"booster": False}, {"aggregation": "sum"}):
        _, shapes = shapes_of(**keywords)
        ones = jax.tree.map(lambda x: np.ones(1, np.float32), shapes["params"])
        optimizer = create_optimizer(config, [*ones, *bisenet_v2.NETWORK.optional_modules])
        updates, _ = optimizer.update(ones, optimizer.init(ones), ones)
        groups = Counter(f"{x[0] / -0.005:.4f}" for x in jax.tree.leaves(updates))
        if not keywords:
            assert groups == {"1.0005": 54, "1.0000": 106, "10.0050": 14, "10.0000": 23}


def test_sum_equals_concatenation_with_equal_weights_for_both_halves():
    image = synth.image(32, 64, 3, 1, 0)
    logits = {}
    for aggregation in ("sum", "concat"):
        model = mj.create_model("bisenet_v2", aggregation=aggregation, booster=False)
        if aggregation == "sum":
            variables = jax.jit(model.init)(jax.random.key(0), image)
        else:
            head = variables["params"]["head"]["conv"]["conv"]
            head["kernel"] = jnp.concatenate([head["kernel"]] * 2, axis=2)
        logits[aggregation] = jax.jit(model.apply)(variables, image)["logits"]
    bound = 1e-4 * np.abs(logits["sum"]).max()
    np.testing.assert_allclose(logits["sum"], logits["concat"], atol=bound)
    assert np.std(logits["sum"]) > 100 * bound


def test_invalid_sizes_and_fields_raise():
    def init(size=64, train=False, **keywords):
        model = mj.create_model("bisenet_v2", **keywords)
        image = jnp.zeros((1, size, size, 3))
        jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=train))

    with pytest.raises(ValueError, match="multiples of 32, got 48x48"):
        init(48)
    with pytest.raises(ValueError, match="pass keys="):
        init(train=True)
    with pytest.raises(ValueError, match="channel_ratio .*; 0.3 makes 19.2 of 64"):
        init(channel_ratio=0.3)
    with pytest.raises(ValueError, match="channel_ratio .*; 0.015625 makes 1 of 64"):
        init(channel_ratio=1 / 64)
    init(channel_ratio=1 / 64, width=2)
    with pytest.raises(ValueError, match="width .* whole numbers .* 0.3 makes 19.2 of 64"):
        init(width=0.3)
    with pytest.raises(ValueError, match="depth .* but 0 makes 0 of 2"):
        init(depth=0)
    with pytest.raises(ValueError, match="expansion .* but 1.5 makes 1.5 of 1"):
        init(expansion=1.5)
    with pytest.raises(ValueError, match="booster_positions .* is empty"):
        init(booster_positions=())
    with pytest.raises(ValueError, match="booster position .*did you mean 'aux5_4'"):
        init(booster_positions=("aux2", "aux5"))
    for keywords in ({"aggregation": "bgaa"}, {"heads": "papers"}, {"statistics": "cityscape"}):
        with pytest.raises(ValueError, match="did you mean"):
            init(**keywords)


@pytest.fixture(scope="module")
def official_step():
    """Our training step without dropout, from the golden's weights."""
    golden = np.load(GOLDENS / "bisenet_v2_train_64x64_s2.npz")
    variables = mj.from_state_dict("bisenet_v2", official_tensors(golden, "bisenet_v2.json", 2))
    image = synth.image(64, 64, 3, 4, 2)
    config = load_config(CONFIG, "cityscapes")
    model = mj.create_model("bisenet_v2", dropout=0.0)

    def loss(params, batch_stats):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            image=image,
            train=True,
            mutable=["batch_stats"],
        )
        total, terms = task.loss(outputs, {}, {"label": golden["labels"]}, config)
        return total, (outputs, updated["batch_stats"], terms)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (total, aux), grads = step(variables["params"], variables["batch_stats"])
    outputs, batch_stats, terms = jax.device_get(aux)
    variables = {"params": jax.device_get(grads), "batch_stats": batch_stats}
    return golden, outputs, total, terms, mj.to_state_dict("bisenet_v2", variables)


@pytest.mark.slow
def test_outputs_and_losses_of_training_step_equal_official(official_step):
    golden, outputs, total, terms, _ = official_step
    assert outputs.keys() == {"logits", *AUX}
    for name, logits in outputs.items():
        bound = 1e-4 * np.abs(golden[name]).max()
        np.testing.assert_allclose(logits[:, ::4, ::4], golden[name], atol=bound, err_msg=name)
        assert float(terms[name]) == pytest.approx(float(golden[f"loss/{name}"]), rel=1e-4)
    assert float(total) == pytest.approx(float(golden["loss/total"]), rel=1e-4)


@pytest.mark.slow
def test_gradients_and_statistics_of_training_step_equal_official(official_step):
    """Noise of 3e-7 in the image flips some ReLUs and changes gradients by up to 1.4 %."""
    golden, _, _, _, tensors = official_step
    gradients = [key for key in golden if key.startswith("grad/")]
    statistics = [key for key in golden if "running" in key]
    assert (len(gradients), len(statistics)) == (4, 6)
    for key in gradients:
        bound = 2e-2 * np.abs(golden[key]).max()
        ours = tensors[key.removeprefix("grad/")]
        np.testing.assert_allclose(ours, golden[key], atol=bound, err_msg=key)
    for key in statistics:
        np.testing.assert_allclose(tensors[key], golden[key], rtol=1e-4, atol=1e-5, err_msg=key)
