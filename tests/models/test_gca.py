"""GCA Matting against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.image.geometry import pad_to_multiple
from matting_jax.losses import absolute
from matting_jax.models import gca
from matting_jax.models.layers.attention import mask_scales
from tests.flags import optimised
from tests.goldens import synth
from tests.helpers import GOLDENS, patch_weights, run_rule


def variables(seed):
    return mj.from_state_dict("gca", synth.state_dict(str(GOLDENS / "gca.json"), seed))


def as_float(trimap):
    """Converts a stored trimap, uint8 [..., H, W], to 0, 0.5 and 1, with a channel."""
    return np.choose(trimap // 100, [0, 0.5, 1]).astype(np.float32)[..., None]


@pytest.fixture(scope="module", params=["256x256_s54", "180x270_s55"])
def official(request):
    """(golden, variables, alpha, intermediates) of the photo padded by our rule."""
    golden = np.load(GOLDENS / f"gca_{request.param}.npz")
    size, _, seed = request.param.rpartition("_s")
    photo = synth.image(*map(int, size.split("x")), 3, 1, int(seed))[0]
    model, weights = mj.create_model("gca"), variables(int(seed))

    @jax.jit
    def forward(variables, inputs):
        return model.apply(variables, **inputs, capture_intermediates=True)

    trimap = as_float(golden["trimap"])
    _, passes = run_rule(gca.predict, image=photo, trimap=trimap, model=model)
    outputs, captured = forward(weights, passes["alpha"])
    return golden, weights, outputs["alpha"], captured["intermediates"]


def test_forward_equals_official(official):
    golden, _, alpha, captured = official
    np.testing.assert_allclose(alpha, golden["alpha"], atol=2e-5)
    encoder, decoder = captured["encoder"], captured["decoder"]
    features = {
        "conv1": encoder["conv1"]["__call__"][0][:, ::8, ::8, ::4],
        "layer1": encoder["layer1_2"]["__call__"][0][:, ::4, ::4, ::8],
        "guidance": encoder["guidance_head"]["__call__"][0][:, ::2, ::2, ::8],
        "gca1": encoder["gca"]["__call__"][0][:, ::2, ::2, ::8],
        "bottleneck": encoder["layer_bottleneck_1"]["__call__"][0][..., ::16],
        "gca2": decoder["gca"]["__call__"][0][:, ::2, ::2, ::8],
        "logit": decoder["conv2"]["__call__"][0],
    }
    for name, feature in features.items():
        bound = 1e-4 * np.abs(golden[name]).max()
        np.testing.assert_allclose(feature, golden[name], atol=bound, err_msg=name)


def test_matter_follows_the_official_test_time_rule():
    golden = np.load(GOLDENS / "gca_180x270_s55.npz")
    trimap = golden["trimap"]
    matter = mj.Matter("gca", variables(55))
    alpha = matter(synth.image(180, 270, 3, 1, 55)[0], trimap=trimap)
    np.testing.assert_allclose(alpha, golden["alpha_final"][0, ..., 0], atol=2e-5)
    difference = np.abs((255 * alpha).astype(int) - golden["alpha_u8"])
    assert difference.max() <= 1 and difference.mean() < 1e-3


def test_attention_weights_equal_official(official):
    """Computed by patches, because the network never holds them in one array."""
    golden, _, _, captured = official
    guide = captured["encoder"]["gca"]["guidance_conv"]["__call__"][0][0, ::2, ::2]
    height, width, _ = guide.shape
    trimap = pad_to_multiple(as_float(golden["trimap"]), 32)
    unknown = (trimap[::16, ::16, 0] == 0.5).astype(np.float32)
    np.testing.assert_allclose(mask_scales(unknown), golden["scale1"][0], rtol=1e-6)
    np.testing.assert_allclose(mask_scales(unknown), golden["scale2"][0], rtol=1e-6)
    with jax.enable_x64(True):
        weights = np.asarray(patch_weights(np.asarray(guide, np.float64), unknown)).T
    most = np.stack(np.unravel_index(weights.argmax(-1), (height, width)), -1)
    offset = most.reshape(height, width, 2) - (height // 2, width // 2)
    np.testing.assert_array_equal(offset, golden["offset1"][0])
    weights = weights.reshape(height, width, -1)[::4, ::4]
    np.testing.assert_allclose(weights, golden["attn1"][0], atol=2e-5)


@pytest.fixture(scope="module")
def official_step():
    """Our training step in float64 from the golden's weights.

    (golden, outputs, tensors); the tensors are gradients, and statistics and vectors after the
    step, by official names.
    """
    golden = np.load(GOLDENS / "gca_train_s25.npz")
    model = mj.create_model("gca")
    with jax.enable_x64(True), optimised():
        state = jax.tree.map(lambda x: np.asarray(x, np.float64), variables(25))
        trimap = as_float(golden["trimap"]).astype(np.float64)
        image = synth.image(128, 128, 3, 2, 25).astype(np.float64)
        truth = synth.image(128, 128, 1, 2, 1025).astype(np.float64)

        def loss(params):
            outputs, updated = model.apply(
                state | {"params": params},
                image,
                trimap,
                train=True,
                mutable=["batch_stats", "spectral"],
            )
            unknown = trimap == 0.5
            error = jnp.sum(absolute(outputs["alpha"] - truth) * unknown)
            return error / (jnp.sum(unknown) + 1e-8), (outputs["alpha"], updated)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (total, (alpha, updated)), grads = jax.tree.map(np.asarray, step(state["params"]))
    tensors = mj.to_state_dict("gca", {"params": grads, **updated})
    norm = np.sqrt(sum(np.sum(x * x) for x in jax.tree.leaves(grads)))
    return golden, {"alpha": alpha, "loss": total, "grad_norm": norm}, tensors


@pytest.mark.slow
def test_training_step_equals_official(official_step):
    """Alpha, loss and norm to the accuracy of float32; the golden is float64."""
    golden, outputs, _ = official_step
    np.testing.assert_allclose(outputs["alpha"], golden["alpha"], atol=5e-5)
    assert outputs["loss"] == pytest.approx(float(golden["loss"]), rel=1e-5)
    assert outputs["grad_norm"] == pytest.approx(float(golden["grad_norm"]), rel=1e-3)


@pytest.mark.slow
def test_gradients_statistics_and_vectors_equal_official(official_step):
    golden, _, tensors = official_step
    names = {
        "grad_encoder_conv1": "encoder.conv1.module.weight_bar",
        "grad_decoder_layer4_0_conv1": "decoder.layer4.0.conv1.module.weight_bar",
        "grad_encoder_gca_guidance_conv": "encoder.gca.guidance_conv.weight",
        "grad_decoder_conv2": "decoder.conv2.weight",
        "encoder_bn1_running_mean": "encoder.bn1.running_mean",
        "encoder_bn1_running_var": "encoder.bn1.running_var",
        "decoder_layer1_0_bn1_running_mean": "decoder.layer1.0.bn1.running_mean",
        "decoder_layer1_0_bn1_running_var": "decoder.layer1.0.bn1.running_var",
        "encoder_conv1_u": "encoder.conv1.module.weight_u",
        "encoder_conv1_v": "encoder.conv1.module.weight_v",
        "decoder_layer1_0_conv1_u": "decoder.layer1.0.conv1.module.weight_u",
        "decoder_layer1_0_conv1_v": "decoder.layer1.0.conv1.module.weight_v",
    }
    for key, name in names.items():
        tensor = tensors[f"module.{name}"]
        if key == "grad_decoder_layer4_0_conv1":
            tensor = tensor[::4, ::4]
        bound = 1e-5 * np.abs(golden[key]).max()
        np.testing.assert_allclose(tensor, golden[key], atol=bound, err_msg=key)


def test_initialisation_equals_official():
    model, inputs = mj.create_model("gca"), mj.models.example_inputs(mj.create_model("gca"))

    def xavier(fan_in, fan_out):
        return np.sqrt(6 / (fan_in + fan_out))

    # U(-b, b), whose deviation is b / sqrt(3); a transposed kernel's fan-in is its outputs'.
    bounds = {
        "encoder/conv1": xavier(9 * 6, 9 * 32),
        "encoder/layer3_1/conv2": xavier(9 * 256, 9 * 256),
        "encoder/layer3_0/downsample_1": xavier(128, 256),
        "encoder/shortcut_2/3": np.sqrt(1 / (9 * 64)),
        "encoder/guidance_head/9": np.sqrt(1 / (9 * 32)),
        "encoder/gca/guidance_conv": xavier(128, 64),
        "decoder/gca/W_0": xavier(128, 128),
        "decoder/layer2_0/conv1": np.sqrt(1 / (16 * 256)),
        "decoder/layer2_0/conv2": xavier(9 * 256, 9 * 128),
        "decoder/layer2_0/upsample_1": xavier(256, 128),
        "decoder/conv1": np.sqrt(1 / (16 * 32)),
        "decoder/conv2": xavier(9 * 32, 9),
    }

    @jax.jit
    def some_parameters(key):
        flat = traverse_util.flatten_dict(model.init(key, **inputs)["params"], sep="/")
        kernels = {path: flat[f"{path}/kernel"] for path in bounds}
        return kernels, {name: x for name, x in flat.items() if not name.endswith("kernel")}

    kernels, vectors = some_parameters(jax.random.key(0))
    assert not np.any(kernels["encoder/conv1"][:, :, 3:])
    kernels["encoder/conv1"] = kernels["encoder/conv1"][:, :, :3]
    for path, bound in bounds.items():
        assert 0.95 * bound < np.abs(kernels[path]).max() <= bound, path
        assert np.std(kernels[path]) == pytest.approx(bound / np.sqrt(3), rel=0.06), path
    for name, vector in vectors.items():
        scale = 0 if "layer" in name and "bn2" in name else 1e-3 if "W_1" in name else 1
        expected = scale if name.endswith("scale") else 0
        np.testing.assert_allclose(vector, expected, err_msg=name)


@pytest.mark.parametrize(
    "keywords, omitted",
    [
        ({}, 0),
        ({"guidance": False}, 16 * 27 + 32 * 144 + 128 * 288 + 2 * (16 + 32 + 128)),
        (
            {"attention": False},
            16 * 27
            + 32 * 144
            + 128 * 288
            + 2 * (16 + 32 + 128)
            + 2 * (128 * 64 + 64 + 128 * 128 + 2 * 128),
        ),
    ],
)
def test_parameter_count_equals_official_minus_omitted_modules(keywords, omitted):
    model = mj.create_model("gca", **keywords)
    shapes = jax.eval_shape(model.init, jax.random.key(0), **mj.models.example_inputs(model))
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == 25_164_529 - omitted


@pytest.mark.slow
def test_network_without_attention_equals_zero_scaled_attention():
    image, trimap = synth.image(64, 64, 3, 1, 0), np.full((1, 64, 64, 1), 0.5, np.float32)
    weights = traverse_util.flatten_dict(variables(54))
    silent = {
        path: np.zeros_like(x) if path[0] == "params" and "W_1" in path else x
        for path, x in weights.items()
    }

    def alpha(weights, **keywords):
        model = mj.create_model("gca", **keywords)
        inputs = {"image": image, "trimap": trimap}
        names = traverse_util.flatten_dict(jax.eval_shape(model.init, jax.random.key(0), **inputs))
        tree = traverse_util.unflatten_dict({path: weights[path] for path in names})
        return jax.jit(model.apply)(tree, **inputs)["alpha"]

    baseline = alpha(weights, attention=False)
    np.testing.assert_allclose(alpha(silent), baseline, atol=1e-5)
    assert np.abs(alpha(weights) - baseline).max() > 0.01


@pytest.mark.slow
def test_keyword_normalises_the_queries_too():
    image, trimap = synth.image(64, 64, 3, 1, 0), np.full((1, 64, 64, 1), 0.5, np.float32)

    def alpha(**keywords):
        model = mj.create_model("gca", **keywords)
        return jax.jit(model.apply)(variables(54), image=image, trimap=trimap)["alpha"]

    released = alpha()
    np.testing.assert_array_equal(alpha(normalise="keys"), released)
    assert np.abs(alpha(normalise="both") - released).max() > 1e-3
    with pytest.raises(ValueError, match="'queries'"):
        alpha(normalise="queries")


def test_frozen_statistics_stay_and_spectral_vectors_are_updated():
    model = mj.create_model("gca", frozen_statistics=True)
    weights, inputs = variables(54), mj.models.example_inputs(model, 32, 32)

    @jax.jit
    def updated(variables, inputs):
        collections = ["batch_stats", "spectral"]
        return model.apply(variables, **inputs, train=True, mutable=collections)[1]

    after = updated(weights, inputs)
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], weights["batch_stats"])
    same = jax.tree.map(np.array_equal, after["spectral"], weights["spectral"])
    assert not any(jax.tree.leaves(same))


def test_sides_must_be_multiples_of_32():
    model = mj.create_model("gca")
    with pytest.raises(ValueError, match="multiples of 32, got 48x64"):
        jax.eval_shape(model.init, jax.random.key(0), **mj.models.example_inputs(model, 48, 64))
