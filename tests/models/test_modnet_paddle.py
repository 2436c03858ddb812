"""MODNet of PaddleSeg against its code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.image.geometry import resize_bilinear
from matting_jax.models import modnet
from matting_jax.models.layers.context import SEBlock
from matting_jax.tasks import modnet_paddle as task
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, run_rule

CONFIG = CONFIGS / "modnet.py"


def variables(seed):
    state_dict = synth.state_dict(str(GOLDENS / "modnet_paddle.json"), seed)
    return mj.from_state_dict("modnet", state_dict, flavour="paddle")


@pytest.mark.parametrize("form", ["cpu", "lax"])
def test_forward_equals_official(form):
    golden = np.load(GOLDENS / "modnet_paddle_96x128_s0.npz")
    model = mj.create_model("modnet", flavour="paddle", form=form)

    @jax.jit
    def forward(variables, image):
        return model.apply(variables, image=image, capture_intermediates=True)

    outputs, captured = forward(variables(0), synth.image(96, 128, 3, 1, 0))
    backbone = captured["intermediates"]["backbone"]["__call__"][0]
    for key, ours in (
        ("alpha", outputs["alpha"]),
        ("detail_s", outputs["detail"][:, ::2, ::2]),
        ("semantic", outputs["semantic"]),
        ("enc2x_s", backbone["enc2x"][:, ::8, ::8]),
        ("enc32x_s", backbone["enc32x"][..., ::16]),
    ):
        bound = 1e-4 * np.abs(golden[key]).max()
        np.testing.assert_allclose(ours, golden[key], atol=bound, err_msg=key)


def test_test_time_rule_equals_official():
    golden = np.load(GOLDENS / "modnet_paddle_100x140_s1.npz")
    photo = synth.image(100, 140, 3, 1, 1)[0]
    matter = mj.Matter("modnet", variables(1), flavour="paddle")
    image = run_rule(matter.rule, image=photo)[1]["alpha"]["image"]
    assert image.shape[1:3] == tuple(golden["net_size"])
    np.testing.assert_allclose(image[0, ::8, ::8], golden["resized_s"], atol=1e-5)

    np.testing.assert_allclose(matter(photo), golden["alpha"][..., 0], atol=5e-4)
    assert matter.sizes == {tuple(golden["net_size"])}
    alpha = matter.apply("alpha", image=image)
    np.testing.assert_allclose(alpha[0, ::8, ::8], golden["alpha_net_s"], atol=5e-4)


@pytest.mark.parametrize(
    ("photo", "sizes"),
    [
        ((512, 512), [(512, 512), (512, 512)]),
        ((100, 140), [(512, 717), (512, 704)]),
        ((1080, 1920), [(512, 910), (512, 896)]),
        ((333, 517), [(512, 795), (512, 768)]),
        ((1, 500), [(512, 16384), (512, 16384)]),
    ],
)
def test_photo_is_resized_twice(photo, sizes):
    assert modnet.paddle_sizes(*photo) == sizes
    assert modnet.paddle_sizes(*photo[::-1]) == [size[::-1] for size in sizes]


def test_alpha_is_resized_back_through_both_sizes():
    """This is smoother than one resize, which the official demo of MODNet does."""
    photo = synth.image(70, 90, 3, 1, 0)[0]
    model = mj.create_model("modnet", flavour="paddle")
    restored, passes = run_rule(modnet.predict, image=photo, model=model, reference_size=64)
    alpha = passes["alpha"]["image"][0, ..., :1]
    assert alpha.shape == (64, 64, 1)
    twice = resize_bilinear(resize_bilinear(alpha, 64, 82), 70, 90)
    np.testing.assert_array_equal(restored, twice)
    assert np.abs(restored - resize_bilinear(alpha, 70, 90)).max() > 1e-3


def test_initialisation_equals_official():
    model = mj.create_model("modnet", flavour="paddle")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == 6_488_883
    # U(-b, b), b = sqrt(6 / fan_in), whose standard deviation is b / sqrt(3), also in the SE block
    block = SEBlock(flavour="paddle")
    params = block.init(jax.random.key(0), jnp.zeros((1, 1, 1, 1280)))["params"]
    kernel, bound = params["conv_0"]["kernel"], np.sqrt(6 / 1280)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    assert np.std(kernel) == pytest.approx(bound / np.sqrt(3), rel=0.02)


def test_unknown_flavour_raises_an_error_with_the_closest():
    model = mj.create_model("modnet", flavour="padle")
    with pytest.raises(ValueError, match="flavour of modnet 'padle': did you mean 'paddle'"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="did you mean 'paddle'"):
        mj.from_state_dict("modnet", {}, flavour="padle")


@pytest.fixture(scope="module")
def official_step():
    """Our training step in float64 from the golden's weights, by official names."""
    golden = np.load(GOLDENS / "modnet_paddle_train.npz")
    config, seed = load_config(CONFIG, "paddle"), int(golden["seed"])
    with jax.enable_x64(True):
        state = jax.tree.map(lambda x: np.asarray(x, np.float64), variables(seed))
        image = synth.image(96, 64, 3, 2, seed)
        # The golden's inputs were made in float32, except for the last conversion.
        image = (2 * image - 1).astype(np.float64) / 2 + 0.5
        alpha = np.clip(2.4 * synth.image(96, 64, 1, 2, seed + 1) - 0.7, 0, 1).astype(np.float64)
        regions = synth.image(96, 64, 1, 2, seed + 2)
        trimap = np.where(regions > 0.6, 1.0, np.where(regions < 0.42, 0.0, 0.5))
        inputs, truth = {"image": image}, {"alpha": alpha, "trimap": trimap}
        model = mj.create_model("modnet", flavour="paddle")

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
    tensors = mj.to_state_dict(
        "modnet", {"params": grads, "batch_stats": batch_stats}, flavour="paddle"
    )
    return golden, outputs, terms, tensors


@pytest.mark.slow
def test_training_outputs_and_losses_equal_official(official_step):
    golden, outputs, terms, _ = official_step
    np.testing.assert_allclose(outputs["alpha"], golden["train_matte"], atol=1e-7)
    np.testing.assert_allclose(outputs["detail"][:, ::2, ::2], golden["train_detail_s"], atol=1e-7)
    np.testing.assert_allclose(outputs["semantic"], golden["train_semantic"], atol=1e-7)
    expected = {
        "semantic": golden["loss_semantic"],
        "detail": golden["loss_detail"],
        "matte": golden["loss_fusion_l1"] + golden["loss_fusion_comp"],
        "consistency": golden["loss_fusion_con_sem"],
    }
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-7)
    assert sum(map(float, terms.values())) == pytest.approx(float(golden["loss_all"]), rel=1e-7)


SLICES = {
    "head.lr_branch.se_block.conv.2.weight_s": np.s_[::16, ::8],
    "head.hr_branch.conv_hr4x.0.layers.0.weight_s": np.s_[::4, ::3],
}


@pytest.mark.slow
def test_gradients_and_statistics_equal_official(official_step):
    """Paddle's running variance is biased."""
    golden, _, _, tensors = official_step
    keys = [key for key in golden if key.startswith(("grad/", "after/"))]
    assert len(keys) == 22
    for key in keys:
        name = key.split("/", 1)[1]
        ours = tensors[name.removesuffix("_s")]
        if name.endswith("_s"):
            ours = ours[SLICES.get(name, np.s_[::16])]
        bound = 2e-6 * np.abs(golden[key]).max()
        np.testing.assert_allclose(ours, golden[key], atol=bound, err_msg=key)
    squares = [
        np.square(tensor.astype(np.float64)).sum()
        for name, tensor in tensors.items()
        if not name.endswith(("_mean", "_variance")) and name.startswith(("head.", "backbone."))
    ]
    assert np.sqrt(sum(squares)) == pytest.approx(float(golden["grad_global_norm"]), rel=1e-6)
