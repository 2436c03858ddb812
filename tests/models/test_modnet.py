"""MODNet against the official code."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.models import modnet
from matting_jax.models.layers.context import ASPP, EASPP, ScaleFusion
from matting_jax.models.layers.convolutions import pointwise
from matting_jax.models.layers.ibnorm import IBNorm
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.tasks import modnet as task
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, run_rule

CONFIG = CONFIGS / "modnet.py"

pytestmark = pytest.mark.filterwarnings("ignore:.*as the official loader does")


def variables(seed):
    return mj.from_state_dict("modnet", synth.state_dict(str(GOLDENS / "modnet.json"), seed))


@pytest.mark.parametrize("form", ["cpu", "lax"])
def test_forward_equals_official(form):
    golden = np.load(GOLDENS / "modnet_128x160_s0.npz")
    model = mj.create_model("modnet", form=form)
    image = synth.image(128, 160, 3, 1, 0)

    @jax.jit
    def forward(variables, image):
        return model.apply(variables, image=image, capture_intermediates=True)

    outputs, captured = forward(variables(0), image)
    for name in ("semantic", "detail", "alpha"):
        np.testing.assert_allclose(outputs[name], golden[name], atol=2e-4)

    captured = captured["intermediates"]
    backbone = captured["backbone"]["__call__"][0]
    low, high = captured["lr_branch"], captured["hr_branch"]
    features = {
        "enc2x_s": backbone["enc2x"][:, ::8, ::8],
        "enc8x_s": backbone["enc8x"][:, ::2, ::2],
        "enc16x_s": backbone["enc16x"][..., ::4],
        "enc32x_s": backbone["enc32x"][..., ::16],
        "se_s": low["se_block"]["__call__"][0][..., ::16],
        "lr8x_s": low["conv_lr8x"]["__call__"][0][:, ::2, ::2],
        "hr4x_s": high["conv_hr4x_2"]["__call__"][0][:, ::4, ::4],
        "hr2x_s": high["conv_hr2x_3"]["__call__"][0][:, ::8, ::8],
        "f2x_s": captured["f_branch"]["conv_f2x"]["__call__"][0][:, ::8, ::8],
        "alpha_logit": captured["f_branch"]["conv_f_1"]["__call__"][0][:, ::4, ::4],
    }
    for name, feature in features.items():
        scale = np.abs(golden[name]).max()
        np.testing.assert_allclose(feature, golden[name], atol=2e-4 * scale, err_msg=name)


@pytest.fixture(scope="module")
def context():
    """The e-ASPP, its variables, and features larger than the reach of its atrous convolutions."""
    norm = partial(IBNorm, partial(BatchNorm, use_running_average=True))
    block = EASPP(norm)
    x = np.random.default_rng(0).random((1, 40, 40, 64)).astype(np.float32)
    return block, block.init(jax.random.key(0), x), x


def test_scales_can_be_fused_before_the_channels():
    """The switched order of the e-ASPP needs one 1x1 convolution for all scales."""
    rng = np.random.default_rng(0)
    scales = [rng.standard_normal((2, 5, 6, 8)).astype(np.float32) for _ in range(3)]
    scales.append(scales[0].mean((1, 2), keepdims=True))
    weights = rng.standard_normal((4, 8)).astype(np.float32)
    bias = rng.standard_normal(8).astype(np.float32)
    kernel = rng.standard_normal((8, 12)).astype(np.float32)
    fusion = ScaleFusion()
    ours = pointwise(fusion.apply({"params": {"kernel": weights, "bias": bias}}, scales), kernel)
    apart = sum(pointwise(w * x, kernel) for w, x in zip(weights, scales, strict=True))
    np.testing.assert_allclose(ours, apart + bias @ kernel, atol=2e-5)


@pytest.mark.parametrize("mean_counts", [True, False])
def test_context_of_a_pixel_is_the_whole_image(context, mean_counts):
    """Beyond the largest atrous rate, batch-normalised channels depend only on the image's mean."""
    block, variables, x = context
    variables = jax.tree.map(jnp.copy, variables)
    fusion = variables["params"]["fusion"]
    fusion["kernel"] = fusion["kernel"].at[-1].set(float(mean_counts))

    def features(x):
        """The reduced and the fused features, their batch-normalised channels."""
        captured = block.apply(variables, x, capture_intermediates=True)[1]["intermediates"]
        both = captured["reduce"], captured["fusion"]
        return [np.asarray(features["__call__"][0][0, ..., :8]) for features in both]

    far = np.array(x)
    far[0, 0, 0] += 3
    (reduced, fused), (reduced_far, fused_far) = features(x), features(far)
    change = np.mean(reduced_far, (0, 1)) - np.mean(reduced, (0, 1))
    assert np.abs(change).max() > 1e-4
    np.testing.assert_allclose((fused_far - fused)[-1, -1], mean_counts * change, atol=1e-6)


def test_mean_of_the_image_survives_the_last_normalisation(context):
    """Instance normalisation removes a constant; after the fusion's ReLU it is not one."""
    block, variables, x = context
    outputs = []
    for weight in (0.0, -2.0):
        changed = jax.tree.map(jnp.copy, variables)
        kernel = changed["params"]["fusion"]["kernel"]
        changed["params"]["fusion"]["kernel"] = kernel.at[-1].set(weight)
        outputs.append(block.apply(changed, x)[..., 32:])
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1


def test_forms_of_the_context_agree_in_values_and_gradients(context):
    block, variables, x = context

    def pull_back(form):
        apply = block.clone(form=form).apply
        y, gradient = jax.vjp(
            lambda params: apply({**variables, "params": params}, x), variables["params"]
        )
        return y, *jax.tree.leaves(gradient(jnp.cos(y)))

    for ours, theirs in zip(pull_back("cpu"), pull_back("lax"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.slow
def test_low_resolution_branch_learns_with_the_context():
    """Every parameter has a gradient, and steps along it lower the loss."""
    norm = partial(IBNorm, partial(BatchNorm, use_running_average=False))
    branch = modnet.LRBranch(norm, "easpp")
    x = np.random.default_rng(0).random((2, 12, 12, 64)).astype(np.float32)
    truth = synth.image(24, 24, 1, 2, 0)
    variables = jax.jit(branch.init)(jax.random.key(0), x)

    def loss(params):
        (semantic, lr8x), _ = branch.apply(
            {**variables, "params": params}, x, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.square(semantic - truth))

    step = jax.jit(jax.value_and_grad(loss)).lower(variables["params"]).compile()
    params, losses = variables["params"], []
    for _ in range(5):
        value, gradient = step(params)
        losses.append(float(value))
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient)
        for path, g in traverse_util.flatten_dict(gradient["easpp"]).items():
            # Normalisation removes the bias of a convolution; ReLU stops single channels.
            assert path[-2:] == ("layers_0", "bias") or np.mean(np.abs(g) > 1e-8) > 0.5, path
    assert losses == sorted(losses, reverse=True)


def normalised_by_hand(x, parameters, instance):
    """BatchNorm of initial statistics, whose second half of channels is instance-normalised."""
    half = x.shape[-1] // 2 if instance else x.shape[-1]
    first = x[..., :half] / np.sqrt(1 + 1e-5) * parameters["scale"] + parameters["bias"]
    rest = x[..., half:]
    centred = rest - rest.mean((1, 2), keepdims=True)
    rest = centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-5)
    return np.maximum(np.concatenate([first, rest], axis=-1), 0)


def convolved_by_hand(x, parameters, rate):
    """Sums the products of each tap of the kernel, `rate` apart, with zero padding."""
    kernel, (height, width) = np.asarray(parameters["kernel"]), x.shape[1:3]
    size = kernel.shape[0]
    pad = rate * (size // 2)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return sum(
        padded[:, i * rate : i * rate + height, j * rate : j * rate + width] @ kernel[i, j]
        for i in range(size)
        for j in range(size)
    ) + np.asarray(parameters["bias"])


def test_aspp_equals_its_definition():
    batch_norm = partial(BatchNorm, use_running_average=True)
    block = ASPP(partial(IBNorm, batch_norm), batch_norm, rates=(1, 3))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 7, 6)).astype(np.float32)
    variables = block.init(jax.random.key(0), x)
    draw = lambda x: (0.5 * rng.standard_normal(x.shape)).astype(np.float32)  # noqa: E731
    params = jax.tree.map(draw, variables["params"])

    def layer(x, name, rate=1, instance=True):
        y = convolved_by_hand(x, params[name]["layers_0"], rate)
        norm = params[name]["layers_1"]
        return normalised_by_hand(y, norm["bnorm"] if instance else norm, instance)

    scales = [layer(x, "point"), layer(x, "atrous_1"), layer(x, "atrous_3", 3)]
    mean = layer(x.mean((1, 2), keepdims=True), "pooled", instance=False)
    scales.append(np.broadcast_to(mean, x.shape))
    expected = layer(np.concatenate(scales, axis=-1), "fusion")
    ours = block.apply({**variables, "params": params}, x)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    assert params.keys() == {"point", "atrous_1", "atrous_3", "pooled", "fusion"}


def test_test_time_rule_equals_official_image_demo():
    golden = np.load(GOLDENS / "modnet_300x420_s1.npz")
    photo = synth.image(300, 420, 3, 1, 1)[0]
    matter = mj.Matter("modnet", variables(1))
    heads = matter.heads(photo)
    restored, passes = run_rule(matter.rule, {"alpha": heads["alpha"][None]}, image=photo)
    image = passes["alpha"]["image"]
    assert image.shape[1:3] == tuple(golden["net_size"])
    np.testing.assert_allclose(2 * image[:, ::8, ::8] - 1, golden["resized_s"], atol=1e-6)

    np.testing.assert_allclose(heads["semantic"], golden["semantic"][0], atol=1e-3)
    np.testing.assert_allclose(heads["alpha"][::4, ::4], golden["alpha_net_s"][0], atol=1e-3)
    np.testing.assert_allclose(restored, golden["alpha"][0], atol=1e-3)


@pytest.mark.parametrize(
    ("photo", "network"),
    [
        ((512, 512), (512, 512)),
        ((300, 420), (512, 704)),
        ((333, 517), (320, 512)),
        ((480, 640), (480, 640)),
        ((1080, 1920), (512, 896)),
        ((600, 530), (576, 512)),
        ((511, 2000), (480, 1984)),
        ((512, 700), (512, 672)),
        ((513, 514), (512, 512)),
        ((20, 900), (32, 896)),
        ((1, 1), (512, 512)),
    ],
)
def test_network_size_is_that_of_the_demo(photo, network):
    assert modnet.network_size(*photo) == network
    assert modnet.network_size(*photo[::-1]) == network[::-1]


def test_sides_must_be_multiples_of_32():
    model = mj.create_model("modnet")
    with pytest.raises(ValueError, match="multiples of 32, got 48x64"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 48, 64, 3)))


def test_unknown_names_raise_an_error_with_the_closest():
    with pytest.raises(ValueError, match="did you mean 'modnet'"):
        mj.create_model("modnt")
    with pytest.raises(ValueError, match="did you mean 'context'"):
        mj.create_model("modnet", contxt="se")


def test_initialisation_equals_official():
    model = mj.create_model("modnet")
    # U(-b, b), b = sqrt(6 / fan_in), whose standard deviation is b / sqrt(3)
    bounds = {
        ("lr_branch", "conv_lr16x", "layers_0", "kernel"): np.sqrt(6 / (25 * 1280)),
        ("backbone", "features_14", "conv_3", "kernel"): np.sqrt(6 / 9),
        ("lr_branch", "se_block", "fc_0", "kernel"): np.sqrt(1 / 1280),
        ("hr_branch", "conv_hr_1", "layers_0", "bias"): 0,
    }

    def draw(key):
        return traverse_util.flatten_dict(model.init(key, jnp.zeros((1, 32, 32, 3)))["params"])

    shapes = jax.eval_shape(draw, jax.random.key(0))
    assert sum(x.size for x in shapes.values()) == 6_487_075
    # XLA omits what is not returned.
    drawn = jax.jit(lambda key: {name: draw(key)[name] for name in bounds})(jax.random.key(0))
    for name, bound in bounds.items():
        assert 0.98 * bound <= np.abs(drawn[name]).max() <= bound
        assert np.std(drawn[name]) == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.fixture(scope="module")
def official_step():
    """Our supervised step in float64 from the golden's weights, by official names."""
    golden = np.load(GOLDENS / "modnet_train.npz")
    config = load_config(CONFIG, "official")
    with jax.enable_x64(True):
        state = jax.tree.map(lambda x: np.asarray(x, np.float64), variables(int(golden["seed"])))
        wide = {name: golden[name].astype(np.float64) for name in ("image", "trimap", "gt_matte")}
        inputs = {"image": (wide["image"] + 1) / 2}
        truth = {"alpha": wide["gt_matte"], "trimap": wide["trimap"]}
        model = mj.create_model("modnet")

        def loss(params):
            outputs, updated = model.apply(
                {"params": params, "batch_stats": state["batch_stats"]},
                **inputs,
                train=True,
                mutable=["batch_stats"],
            )
            total, terms = task.loss(outputs, inputs, truth, config)
            return total, (outputs, updated["batch_stats"], terms)

        grads, aux = jax.jit(jax.grad(loss, has_aux=True))(state["params"])
        outputs, batch_stats, terms = jax.tree.map(np.asarray, aux)
        grads = jax.tree.map(np.asarray, grads)
    tensors = mj.to_state_dict("modnet", {"params": grads, "batch_stats": batch_stats})
    return golden, state, outputs, terms, tensors


def test_training_outputs_and_losses_equal_official(official_step):
    golden, _, outputs, terms, _ = official_step
    for name in ("semantic", "detail", "alpha"):
        np.testing.assert_allclose(outputs[name], golden[f"train_{name}"], atol=1e-7)
    for name, value in terms.items():
        assert float(value) == pytest.approx(float(golden[f"loss_{name}"]), rel=1e-7)


def stored(tensors, key):
    """The tensor of a golden's key, reduced to the slice that it stores."""
    name = key.split("/", 1)[1].removesuffix("_s").replace("backbone.", "lr_branch.backbone.", 1)
    tensor = tensors[f"module.{name}"]
    if key.endswith("fc.0.weight_s"):
        return tensor[::8, ::16]
    return tensor[::16] if "features.18" in key else tensor


def test_gradients_and_statistics_equal_official(official_step):
    golden, _, _, _, tensors = official_step
    keys = [k for k in golden if k.startswith("grad/") or "running" in k and "after/" in k]
    assert len(keys) == 13
    for key in keys:
        bound = 2e-6 * np.abs(golden[key]).max()
        np.testing.assert_allclose(stored(tensors, key), golden[key], atol=bound, err_msg=key)
    squares = [
        np.square(tensor.astype(np.float64)).sum()
        for name, tensor in tensors.items()
        if name.endswith(("weight", "bias")) and not name.startswith("module.backbone.")
    ]
    assert np.sqrt(sum(squares)) == pytest.approx(float(golden["grad_global_norm"]), rel=1e-6)


def test_sgd_step_equals_official(official_step):
    golden, state, _, _, tensors = official_step
    key = "after/f_branch.conv_f.0.layers.0.weight"
    start = state["params"]["f_branch"]["conv_f_0"]["layers_0"]["kernel"].transpose(3, 2, 0, 1)
    np.testing.assert_allclose(start - 0.01 * stored(tensors, key), golden[key], atol=1e-7)
