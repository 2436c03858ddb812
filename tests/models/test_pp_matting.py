"""PP-Matting against the official code."""

import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

import matting_jax as mj
from matting_jax import parallel
from matting_jax.config import load_config
from matting_jax.convert import flat_shapes
from matting_jax.models import pp_matting
from matting_jax.models.backbones import hrnet
from matting_jax.models.cost import multiply_adds
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.tasks import pp_matting as task
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, run_rule

CONFIG = CONFIGS / "pp_matting.py"


def variables(width, seed, rules="adjust"):
    """Weights of the goldens as Flax variables."""
    tensors = synth.state_dict(str(GOLDENS / f"pp_matting_{width}.json"), seed)
    for start, end, factor in json.loads((GOLDENS / f"pp_matting_{rules}.json").read_text()):
        for name in tensors:
            if name.startswith(start) and name.endswith(end):
                tensors[name] = tensors[name] * np.float32(factor)
    return mj.from_state_dict("pp_matting", tensors, backbone=f"hrnet_{width}")


@pytest.mark.parametrize(
    ("width", "form", "golden"),
    [
        pytest.param("w18", "lax", "w18_128x160_s18", marks=pytest.mark.slow),
        ("w48", "cpu", "w48_96x128_s7"),
    ],
)
def test_forward_equals_official(width, form, golden):
    seed = int(golden.rpartition("_s")[2])
    golden = np.load(GOLDENS / f"pp_matting_{golden}.npz")
    model = mj.create_model("pp_matting", backbone=f"hrnet_{width}", form=form)
    image = synth.image(*golden["alpha"].shape[1:3], 3, 1, seed)

    def forward(variables, image):
        return model.apply(variables, image=image, capture_intermediates=True)

    outputs, captured = jax.jit(forward)(variables(width, seed), image)
    captured = captured["intermediates"]
    backbone, scb, hrdb = captured["backbone"], captured["scb"], captured["hrdb"]

    def output(module):
        return module["__call__"][0]

    features = {f"feat{i}": x[..., :6] for i, x in enumerate(output(backbone))}
    features |= {
        "layer1": output(backbone["la1"])[:, ::4, ::4, :16],
        "stage2_1": output(backbone["st2"])[1][..., :6],
        "stage3_2": output(backbone["st3"])[2][..., :6],
        "feat0": output(backbone)[0][:, ::4, ::4, :16],
        "feat1": output(backbone)[1][:, ::2, ::2, :6],
        "ppm": output(scb["psp_module"])[..., :16],
        "scb0": output(scb["scb_stages_0"])[..., :8],
        "scb2": output(scb["scb_stages_2"])[:, ::4, ::4, :8],
        "scb4": output(scb["scb_stages_4"])[:, ::8, ::8, :8],
        "semantic_logits": output(scb["scb_stages_5"]),
        "detail_logit": output(hrdb),
    }
    for i in range(3):
        features[f"gate{i}"] = output(hrdb[f"gates_{i}"])[:, ::8, ::8, :8]
    assert features.keys() | {"alpha", "semantic_margin_min"} == set(golden)
    for name, feature in features.items():
        scale = np.abs(golden[name]).max()
        np.testing.assert_allclose(feature, golden[name], atol=2e-4 * scale, err_msg=name)

    logits = golden["semantic_logits"].astype(np.float64)
    classes = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs["semantic"], classes, atol=1e-5)
    # A pixel with another most likely class would differ by more; there is none.
    np.testing.assert_allclose(outputs["alpha"], golden["alpha"], atol=2e-4)
    inside = golden["alpha"] % 1 != 0
    assert 0.05 < inside.mean() < 0.95
    np.testing.assert_array_equal(outputs["alpha"][inside], outputs["detail"][inside])


def test_first_of_equal_classes_counts():
    third = [0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [1 / 3] * 3, [0.1, 0.2, 0.7]
    classes = jnp.split(jnp.array(third), 3, axis=-1)
    detail = jnp.full((5, 1), 0.3)
    alpha = pp_matting.fuse(classes, detail)
    np.testing.assert_array_equal(alpha[:, 0], np.float32([1, 0.3, 1, 1, 0]))


def test_alpha_has_gradients_of_detail_only_where_transition_is_most_likely():
    rng = np.random.default_rng(0)
    classes = jnp.split(rng.dirichlet([1, 1, 1], (6, 7)), 3, axis=-1)
    detail = jnp.asarray(rng.random((6, 7, 1)))
    gradient = jax.grad(lambda *x: jnp.sum(pp_matting.fuse(*x)), (0, 1))(classes, detail)
    assert not any(np.any(g) for g in gradient[0])
    most_likely = np.argmax(np.concatenate(classes, -1), -1)
    np.testing.assert_array_equal(gradient[1][..., 0], most_likely == 1)


@pytest.mark.parametrize(
    "backbone, parameters",
    [
        ("hrnet_w18", 24_503_954),
        ("hrnet_w48", 86_197_934),
    ],
)
def test_parameters_are_as_many_as_official(backbone, parameters):
    shapes = flat_shapes(mj.create_model("pp_matting", backbone=backbone))
    assert sum(x.size for path, x in shapes.items() if path[0] == "params") == parameters


def test_multiply_adds_equal_official():
    """The official count has only convolutions; the pyramid's matrices are a thousandth of it."""
    model = mj.create_model("pp_matting", backbone="hrnet_w18")
    image = jnp.zeros((1, 512, 512, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    cost = multiply_adds(lambda variables, image: model.apply(variables, image), shapes, image)
    assert cost == pytest.approx(90.76e9, rel=2e-3)


@pytest.mark.parametrize(
    "keyword, missing",
    [
        ("guidance", {"hrdb": ("gf_list", "gates")}),
        ("pyramid_pooling", {"scb": ("stages",)}),
        ("detail", {"hrdb": ("",)}),
    ],
)
def test_an_ablation_lacks_only_its_own_parameters(keyword, missing):
    shapes = flat_shapes(mj.create_model("pp_matting", backbone="hrnet_w18"))
    ablated = flat_shapes(mj.create_model("pp_matting", backbone="hrnet_w18", **{keyword: False}))
    ((branch, beginnings),) = missing.items()

    def is_missing(path):
        modules = [m for m in path[1:-1] if m != "psp_module"]
        return modules[0] == branch and (modules + [""])[1].startswith(beginnings)

    assert ablated.keys() == {path for path in shapes if not is_missing(path)}
    wider = [path for path, x in ablated.items() if x.shape != shapes[path].shape]
    fusion = ("params", "scb", "psp_module", "conv_bn_relu2", "_conv", "kernel")
    assert wider == ([fusion] if keyword == "pyramid_pooling" else [])


class Blocks(nn.Module):
    """Blocks of the backbone and both branches on features of few channels."""

    norm: Any
    rematerialise: bool = False

    @nn.compact
    def __call__(self, smallest, half, quarter, eighth):
        layer = partial(hrnet.ConvNorm, norm=self.norm)
        again = {"rematerialise": self.rematerialise}
        quarter = hrnet.FirstLayer(layer, **again, name="la1")(quarter)[..., :6]
        quarter, _ = hrnet.Stage(layer, 2, **again, name="st2")([quarter, eighth])
        logits, guides = pp_matting.SemanticBranch(self.norm, **again, name="scb")(smallest)
        branch = pp_matting.DetailBranch(self.norm, **again, name="hrdb")
        return logits, branch(half, quarter, guides)


@pytest.mark.slow
def test_rematerialised_blocks_have_the_same_gradients_and_statistics_in_less_memory():
    rng = np.random.default_rng(0)
    features = [
        rng.standard_normal((2, *shape)).astype(np.float32)
        for shape in ((2, 2, 8), (32, 32, 6), (16, 16, 4), (8, 8, 12))
    ]

    def pulled_back(rematerialise):
        norm = partial(BatchNorm, use_running_average=False, unbiased=False)
        blocks = Blocks(norm, rematerialise)

        def loss(params, variables):
            outputs, updated = blocks.apply(
                {**variables, "params": params}, *features, mutable=["batch_stats"]
            )
            return sum(jnp.mean(jnp.sin(x)) for x in outputs), updated

        variables = blocks.init(jax.random.key(0), *features)
        gradient = jax.value_and_grad(loss, has_aux=True)
        step = jax.jit(gradient, compiler_options=parallel.KEEP_BARRIERS)
        compiled = step.lower(variables["params"], variables).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        return compiled(variables["params"], variables), memory

    ((loss, updated), gradient), kept = pulled_back(False)
    ((again, updated_again), gradient_again), less = pulled_back(True)
    assert less < 0.6 * kept
    assert float(again) == pytest.approx(float(loss), rel=1e-6)
    flat = traverse_util.flatten_dict(gradient)
    largest = max(float(jnp.max(jnp.abs(x))) for x in flat.values())
    for path, x in traverse_util.flatten_dict(gradient_again).items():
        np.testing.assert_allclose(x, flat[path], atol=1e-4 * largest, err_msg=str(path))
    assert jax.tree.structure(updated_again) == jax.tree.structure(updated)
    for ours, theirs in zip(*map(jax.tree.leaves, (updated_again, updated)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_each_guide_changes_the_detail_and_without_guides_there_are_no_gates():
    norm = partial(BatchNorm, use_running_average=True)
    branch = pp_matting.DetailBranch(norm)
    rng = np.random.default_rng(0)
    half, quarter = rng.random((1, 32, 32, 6)), rng.random((1, 16, 16, 4))
    sizes = {4: 256, 16: 64, 64: 64}
    guides = [jnp.asarray(rng.random((1, side, side, c))) for side, c in sizes.items()]
    variables = branch.init(jax.random.key(0), half, quarter, guides)
    fewer = branch.init(jax.random.key(0), half, quarter, [])
    assert variables["params"].keys() - fewer["params"].keys() == {
        f"{name}_{i}" for name in ("gf_list", "gates") for i in range(3)
    }
    detail = branch.apply(variables, half, quarter, guides)
    for i in range(3):
        others = [guide + (j == i) for j, guide in enumerate(guides)]
        other = branch.apply(variables, half, quarter, others)
        assert np.abs(other - detail).max() > 1e-4


@pytest.fixture(scope="module")
def pipeline():
    """(golden, photo, Matter with the golden's weights and size)."""
    golden = np.load(GOLDENS / "pp_matting_pipeline_w18_150x230_s18.npz")
    photo = np.rint(255 * synth.image(150, 230, 3, 1, 18)[0]).astype(np.uint8)
    options = {"backbone": "hrnet_w18", "test_time": {"max_short": 128}}
    return golden, photo, mj.Matter("pp_matting", variables("w18", 18), **options)


def test_test_time_rule_equals_official(pipeline):
    golden, photo, matter = pipeline
    sizes = pp_matting.rule_sizes(matter.model, 150, 230, 128)
    assert [(150, 230), sizes[0]] == [tuple(size) for size in golden["trans_sizes"]]
    # The official code rounds to bytes after each of its two resizes.
    outputs = {"alpha": golden["alpha_net"]}
    restored, passes = run_rule(matter.rule, outputs, image=photo / np.float32(255))
    image = passes["alpha"]["image"]
    assert np.abs(255 * image[0] - golden["resized_rgb_u8"]).max() < 1.25

    bytes_ = golden["resized_rgb_u8"][None] / np.float32(255)
    alpha = matter.apply("alpha", image=bytes_)
    np.testing.assert_allclose(alpha, golden["alpha_net"], atol=2e-4)
    np.testing.assert_allclose(restored, golden["alpha"][0], atol=1e-5)
    # Rounding changes the most likely class of a few pixels.
    ours = matter(photo)
    assert np.mean(np.abs(ours - golden["alpha"][0, ..., 0]) < 0.02) > 0.97


@pytest.mark.parametrize(
    ("backbone", "photo", "sizes"),
    [
        ("hrnet_w48", (1536, 2048), [(1536, 2048), (1536, 2048)]),
        ("hrnet_w48", (3000, 4001), [(1536, 2049), (1536, 2048)]),
        ("hrnet_w18", (513, 700), [(512, 699), (512, 672)]),
        ("hrnet_w18", (400, 600), [(400, 600), (384, 576)]),
        ("hrnet_w18", (10, 40), [(10, 40), (32, 32)]),
    ],
)
def test_short_sides_are_reduced_as_in_the_config_of_the_backbone(backbone, photo, sizes):
    model = mj.create_model("pp_matting", backbone=backbone)
    assert pp_matting.rule_sizes(model, *photo, 0) == sizes
    assert pp_matting.rule_sizes(model, *photo[::-1], 0) == [size[::-1] for size in sizes]


def test_sides_must_be_multiples_of_32():
    model = mj.create_model("pp_matting")
    with pytest.raises(ValueError, match="multiples of 32, got 48x64"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 48, 64, 3)))


def test_negative_short_side_raises_an_error():
    model = mj.create_model("pp_matting")
    with pytest.raises(ValueError, match="test_time.max_short must be at least 0, got -1"):
        pp_matting.rule_sizes(model, 100, 100, -1)


def test_unknown_backbone_raises_an_error_with_the_closest():
    with pytest.raises(ValueError, match="did you mean 'hrnet_w48'"):
        flat_shapes(mj.create_model("pp_matting", backbone="hrnet48"))


def test_initialisation_equals_official():
    branch = pp_matting.DetailBranch(partial(BatchNorm, use_running_average=True))
    x = jnp.zeros((1, 8, 8, 64)), jnp.zeros((1, 4, 4, 48))
    kernel = branch.init(jax.random.key(0), *x, [])["params"]["res_list_0"]["conv0"]["_conv"][
        "kernel"
    ]
    # Flax's normal is truncated at two standard deviations; this one is not.
    deviation = np.sqrt(2 / (9 * 112))
    assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
    assert np.abs(kernel).max() > 3.5 * deviation
    backbone = hrnet.HRNet(18, partial(BatchNorm, use_running_average=True))

    @jax.jit
    def drawn(key):
        params = backbone.init(key, jnp.zeros((1, 32, 32, 3)))["params"]
        return params["conv_layer1_2"]["_conv"]["kernel"]

    assert np.std(drawn(jax.random.key(0))) == pytest.approx(0.001, rel=0.02)


def golden_batch():
    """The golden's batch, drawn in float32: inputs and truth in float64."""
    image, alpha, trimap, foreground, background = (
        synth.image(96, 64, channels, 3, 32 + offset)
        for channels, offset in ((3, 0), (1, 200), (1, 300), (3, 400), (3, 500))
    )
    # The official network takes images in [-1, 1], ours in [0, 1].
    colours = [(2 * x - 1).astype(np.float64) / 2 + 0.5 for x in (image, foreground, background)]
    trimap = np.where(trimap > 0.6, 1, np.where(trimap < 0.42, 0, 0.5))
    alpha = np.clip(2 * alpha - 0.5, 0, 1).astype(np.float64)
    truth = {"alpha": alpha, "trimap": trimap, "foreground": colours[1], "background": colours[2]}
    return {"image": colours[0]}, truth


@pytest.fixture(scope="module")
def official_step():
    """Losses, gradients and statistics of our training step in float64, by official names."""
    config = load_config(CONFIG, "official")
    start = variables("w18", 32, "adjust_train")
    with jax.enable_x64(True):
        start = jax.tree.map(lambda x: np.asarray(x, np.float64), start)
        inputs, truth = golden_batch()
        model = mj.create_model("pp_matting", backbone="hrnet_w18")

        def loss(params):
            outputs, updated = model.apply(
                {**start, "params": params}, **inputs, train=True, mutable=["batch_stats"]
            )
            total, terms = task.loss(outputs, inputs, truth, config)
            return total, (outputs, updated["batch_stats"], terms)

        # As one program in float64 it takes longer to compile than to run layer by layer.
        grads, aux = jax.grad(loss, has_aux=True)(start["params"])
        outputs, batch_stats, terms = jax.tree.map(np.asarray, aux)
        state = {"params": jax.tree.map(np.asarray, grads), "batch_stats": batch_stats}
    return outputs, terms, mj.to_state_dict("pp_matting", state, backbone="hrnet_w18")


@pytest.mark.slow
def test_training_step_equals_official(official_step):
    golden = np.load(GOLDENS / "pp_matting_train_w18_b3_96x64_s32.npz")
    outputs, terms, tensors = official_step
    np.testing.assert_allclose(outputs["detail"], golden["detail"], atol=2e-7)
    for name, value in terms.items():
        expected = 0.25 * float(golden[f"loss_{name}"])
        assert float(value) == pytest.approx(expected, rel=1e-6), name
    keys = [key for key in golden if key.startswith(("grad/", "bn/"))]
    assert len(keys) == 13
    for key in keys:
        # Rounding of all other layers adds up in the gradient of the first convolution.
        bound = 1e-3 if "conv_layer1_1._conv" in key else 2e-6
        bound *= np.abs(golden[key]).max()
        ours = tensors[key.split("/")[1]]
        np.testing.assert_allclose(ours, golden[key], atol=bound, err_msg=key)
