"""Deep Image Matting against mmagic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.models import dim
from matting_jax.models.layers.pooling import max_pool_with_indices
from matting_jax.tasks import dim as task
from tests.flags import optimised
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, run_rule

CONFIG = CONFIGS / "dim.py"


def state_dict(seed):
    return synth.state_dict(str(GOLDENS / "dim.json"), seed)


def as_float(trimap):
    """Converts a uint8 trimap to 0, 0.5 and 1, with a channel."""
    return np.where(trimap == 128, 0.5, trimap / 255).astype(np.float32)[..., None]


@pytest.fixture(scope="module")
def forward():
    """The jitted network with its intermediates; both goldens have the same size."""
    model = mj.create_model("dim")
    return jax.jit(
        lambda variables, inputs: model.apply(variables, **inputs, capture_intermediates=True)
    )


@pytest.fixture(scope="module", params=[(4, 128, 160), (28, 110, 150)], ids=["direct", "padded"])
def case(request, forward):
    """(golden, variables, photo, outputs, intermediates) of a golden file."""
    seed, height, width = request.param
    golden = np.load(GOLDENS / f"dim_{height}x{width}_s{seed}.npz")
    photo = synth.image(height, width, 3, 1, seed)[0]
    variables = mj.from_state_dict("dim", state_dict(seed))
    images = {"image": photo, "trimap": as_float(golden["trimap"])}
    _, passes = run_rule(dim.predict, **images, model=mj.create_model("dim"))
    outputs, captured = forward(variables, passes["alpha"])
    return golden, variables, photo, outputs, captured["intermediates"]


def test_outputs_equal_official(case):
    golden, _, _, outputs, _ = case
    np.testing.assert_allclose(outputs["coarse_alpha"], golden["alpha_stage1"], atol=2e-6)
    np.testing.assert_allclose(outputs["alpha"], golden["alpha_refined"], atol=1e-5)


def test_features_and_logits_equal_official(case):
    golden, _, _, _, captured = case
    encoder, decoder = captured["backbone"]["encoder"], captured["backbone"]["decoder"]
    features = {
        "conv6_pre": encoder["conv6"]["__call__"][0][..., ::16],
        "deconv5_pre": decoder["deconv5_1"]["__call__"][0][..., ::16],
        "deconv2_pre": decoder["deconv2_1"]["__call__"][0][:, ::4, ::4, ::4],
        "raw_alpha": decoder["deconv1"]["__call__"][0],
        "raw_refine": captured["refiner"]["refine_pred"]["__call__"][0],
    }
    for name, feature in features.items():
        bound = 1e-5 * np.abs(golden[name]).max()
        np.testing.assert_allclose(feature, golden[name], atol=bound, err_msg=name)


@pytest.mark.parametrize("block, last, stride, step", [(1, 2, 4, 8), (5, 4, 1, 16)])
def test_pooled_values_and_indices_equal_official(case, block, last, stride, step):
    golden, _, _, _, captured = case
    encoder = captured["backbone"]["encoder"]
    before = jnp.maximum(encoder[f"layer{block}_{last}"]["__call__"][0], 0)
    pooled, indices = max_pool_with_indices(before)
    np.testing.assert_array_equal(indices, encoder["__call__"][0][1][block - 1])
    _, height, width, _ = pooled.shape
    row = 2 * np.arange(height)[:, None, None] + indices // 2
    index = 2 * width * row + 2 * np.arange(width)[:, None] + indices % 2
    sampled = np.s_[:, ::stride, ::stride, ::step]
    np.testing.assert_allclose(pooled[sampled], golden[f"pool{block}"], atol=2e-5)
    np.testing.assert_array_equal(index[sampled], golden[f"pool{block}_idx"])


def test_test_time_rule_equals_official(case):
    golden, variables, photo, _, _ = case
    alpha = mj.Matter("dim", variables)(photo, trimap=golden["trimap"])
    np.testing.assert_allclose(alpha, golden["alpha_final"], atol=1e-5)
    levels = np.rint(255 * alpha)
    assert np.mean(levels == golden["alpha_u8"]) > 0.999
    assert np.abs(levels - golden["alpha_u8"]).max() <= 1


def test_network_without_refinement_equals_coarse_alpha(case):
    golden, variables, photo, outputs, _ = case
    params = {"backbone": variables["params"]["backbone"]}
    model = mj.create_model("dim", refine=False)
    images = {"image": photo, "trimap": as_float(golden["trimap"])}
    inputs = run_rule(dim.predict, **images, model=model)[1]["alpha"]
    alone = jax.jit(lambda params: model.apply({"params": params}, **inputs))(params)
    assert set(alone) == {"alpha"}
    np.testing.assert_allclose(alone["alpha"], outputs["coarse_alpha"], atol=1e-6)


def convolve(x, layer):
    """Convolves x [H, W, C] with a 3x3 layer and zero padding, in NumPy."""
    height, width, _ = x.shape
    x, kernel = np.pad(x, ((1, 1), (1, 1), (0, 0))), np.asarray(layer["kernel"], np.float64)
    shifted = [x[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)]
    return sum(shifted) + np.asarray(layer["bias"], np.float64)


def refined_by_hand(refiner, image, coarse):
    """Computes the paper's refined alpha [H, W, 1], unclipped: the coarse one plus a correction."""
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = np.concatenate([(image - mean) / deviation, coarse], axis=-1)
    for i in (1, 2, 3):
        x = np.maximum(convolve(x, refiner[f"refine_conv{i}"]), 0)
    return coarse + convolve(x, refiner["refine_pred"])


@pytest.mark.slow
def test_correction_of_alpha_is_the_sum_of_the_paper_with_gradients():
    rng = np.random.default_rng(0)
    image, trimap = rng.random((1, 32, 32, 3)), rng.choice([0, 0.5, 1], (1, 32, 32, 1))
    weights = np.cos(np.arange(1024)).reshape(32, 32, 1)
    params = mj.from_state_dict("dim", state_dict(4))["params"]
    with jax.enable_x64(True), optimised():
        params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        # Its correction leaves [0, 1] in places.
        params["refiner"]["refine_pred"]["kernel"] *= 8
        model = mj.create_model("dim", correction="alpha")

        @jax.jit
        def training(refiner):
            variables = {"params": params | {"refiner": refiner}}
            outputs = model.apply(variables, image=image, trimap=trimap, train=True)
            return jnp.sum(weights * outputs["alpha"]), outputs

        gradient, outputs = jax.grad(training, has_aux=True)(params["refiner"])
        predicted = jax.jit(model.apply)({"params": params}, image=image, trimap=trimap)
        gradient, outputs, predicted = jax.tree.map(np.asarray, (gradient, outputs, predicted))
    coarse = outputs["coarse_alpha"][0]
    expected = refined_by_hand(params["refiner"], image[0], coarse)
    assert expected.min() < 0 and expected.max() > 1
    np.testing.assert_allclose(outputs["alpha"][0], expected, atol=1e-9)
    np.testing.assert_allclose(predicted["alpha"][0], np.clip(expected, 0, 1), atol=1e-9)

    step = jax.tree.map(lambda x: 1e-7 * rng.standard_normal(x.shape), params["refiner"])
    after, before = (
        np.sum(weights * refined_by_hand(refiner, image[0], coarse))
        for refiner in (
            jax.tree.map(np.add, params["refiner"], step),
            jax.tree.map(np.subtract, params["refiner"], step),
        )
    )
    change = sum(jax.tree.leaves(jax.tree.map(lambda g, x: np.sum(g * x), gradient, step)))
    assert change == pytest.approx((after - before) / 2, rel=1e-5)


def test_unknown_correction_is_an_error():
    model = mj.create_model("dim", correction="alphas")
    with pytest.raises(ValueError, match="did you mean 'alpha'.*valid: logits, alpha"):
        jax.eval_shape(
            model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 32, 32, 1))
        )


def test_sides_must_be_multiples_of_32():
    model = mj.create_model("dim")
    with pytest.raises(ValueError, match="multiples of 32, got 48x64"):
        jax.eval_shape(
            model.init, jax.random.key(0), jnp.zeros((1, 48, 64, 3)), jnp.zeros((1, 48, 64, 1))
        )


def test_initialisation_is_xavier_without_truncation():
    model = mj.create_model("dim")
    image, trimap = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 32, 32, 1))
    params = jax.jit(model.init)(jax.random.key(0), image, trimap)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 26_276_802
    encoder, decoder = params["backbone"]["encoder"], params["backbone"]["decoder"]
    for kernel in (
        encoder["layer3_2"]["kernel"],
        encoder["conv6"]["kernel"],
        decoder["deconv2_1"]["kernel"],
        params["refiner"]["refine_conv2"]["kernel"],
    ):
        size, _, inputs, outputs = kernel.shape
        deviation = np.sqrt(2 / (size**2 * (inputs + outputs)))
        assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
        assert np.abs(kernel).max() > 3.5 * deviation
    assert not any(np.any(layer["bias"]) for layer in (*encoder.values(), *decoder.values()))


@pytest.fixture(scope="module")
def official_step():
    """The golden of a training step, the terms of our loss, and our gradients by official names."""
    golden = np.load(GOLDENS / "dim_train_s22.npz")
    colours = [
        synth.image(64, 96, channels, 2, seed).astype(np.float64)
        for channels, seed in ((1, 1022), (3, 2022), (3, 3022))
    ]
    alpha, foreground, background = colours
    merged = (foreground * alpha + background * (1 - alpha)).astype(np.float32)
    inputs = {"image": merged.astype(np.float64), "trimap": as_float(golden["trimap"])}
    truth = {"alpha": alpha, "foreground": foreground, "background": background}
    config = load_config(CONFIG, "finetune")
    params = mj.from_state_dict("dim", state_dict(22))["params"]
    with jax.enable_x64(True), optimised():
        model = mj.create_model("dim")

        def loss(params):
            outputs = model.apply({"params": params}, **inputs, train=True)
            return task.loss(outputs, inputs, truth, config)

        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        grads, terms = jax.jit(jax.grad(loss, has_aux=True))(wide)
        grads, terms = jax.tree.map(np.asarray, (grads, terms))
    return golden, terms, mj.to_state_dict("dim", {"params": grads})


def test_training_losses_equal_official(official_step):
    golden, terms, _ = official_step
    for name, key in (("alpha", "alpha"), ("composition", "comp"), ("refinement", "refine")):
        assert float(terms[name]) == pytest.approx(float(golden[f"loss_{key}"]), rel=1e-6)
    assert sum(terms.values()) == pytest.approx(float(golden["loss_total"]), rel=1e-6)


def test_gradients_equal_official(official_step):
    golden, _, tensors = official_step
    for key, gradient in (
        ("grad_enc_layer1_0", tensors["backbone.encoder.layer1.0.weight"]),
        ("grad_enc_layer5_4", tensors["backbone.encoder.layer5.4.weight"][::16, ::16]),
        ("grad_dec_deconv1", tensors["backbone.decoder.deconv1.weight"]),
        ("grad_ref_conv1", tensors["refiner.refine_conv1.weight"]),
    ):
        error = np.linalg.norm(gradient - golden[key]) / np.linalg.norm(golden[key])
        assert error < 1e-6, (key, error)
