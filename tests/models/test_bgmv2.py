"""BackgroundMattingV2 against the official code."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.models import bgmv2
from matting_jax.models.layers.context import TorchvisionASPP
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.models.layers.refinement import CAPACITIES
from matting_jax.tasks import bgmv2 as task
from tests.goldens import bgmv2 as checkpoints
from tests.goldens import synth
from tests.helpers import GOLDENS, run_rule

SAMPLING = ("bgmv2_refine_mobilenetv2_sampling_228x300_s1", "mobilenet_v2")
HEADS = {
    "alpha": "pha",
    "coarse_alpha": "pha_sm",
    "coarse_foreground": "fgr_sm",
    "coarse_error": "err_sm",
}


def network(file, backbone, **keywords):
    """The network of a golden: (golden, model, variables, image, background)."""
    golden = np.load(GOLDENS / f"{file}.npz")
    size, seed = file.split("_")[-2:]
    (height, width), seed = map(int, size.split("x")), int(seed[1:])
    if "refine_sample_pixels" in golden:
        keywords["sample_pixels"] = int(golden["refine_sample_pixels"])
    if "refine_threshold" in golden and "thresholding" in file:
        keywords["threshold"] = float(golden["refine_threshold"])
    if "backbone_scale" in golden:
        keywords["backbone_scale"] = float(golden["backbone_scale"])
        keywords["kernel_size"] = int(golden["refine_kernel_size"])
    keywords["backbone"] = backbone
    names = {"refine", "kernel_size"} & keywords.keys()
    entries = checkpoints.manifest(backbone, **{name: keywords[name] for name in names})
    tensors = checkpoints.state_dict(golden, entries, seed)
    batch = 2 if "train" in file else 1
    image = synth.image(height, width, 3, batch, seed)
    background = synth.image(height, width, 3, batch, seed + 100)
    variables = mj.from_state_dict("bgmv2", tensors, **keywords)
    return golden, mj.create_model("bgmv2", **keywords), variables, image, background


def run(model, variables, image, background):
    """Runs a network and returns (outputs, intermediates)."""

    @jax.jit
    def forward(variables, image, background):
        return model.apply(
            variables, image=image, background=background, capture_intermediates=True
        )

    outputs, captured = forward(variables, image, background)
    return outputs, captured["intermediates"]


def assert_near(ours, theirs, atol, name):
    scale = max(1, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, atol=atol * scale, err_msg=name)


@pytest.mark.parametrize(
    ("file", "backbone", "channels", "atol"),
    [
        ("bgmv2_base_resnet50_128x160_s0", "resnet50", (8, 32), 1e-4),
        ("bgmv2_base_mobilenetv2_133x179_s1", "mobilenet_v2", (1, 8), 5e-4),
    ],
)
def test_base_equals_official_in_outputs_and_features(file, backbone, channels, atol):
    golden, *rest = network(file, backbone, refine=False)
    outputs, captured = run(*rest)
    outputs_ = captured["backbone"]["__call__"][0]
    indices, names = (0, 2, 4), ("enc2x", "enc8x", "enc16x")
    x1, x3, x4 = (outputs_[i] for i in (indices if backbone == "resnet50" else names))
    features = {
        "pha": outputs["alpha"],
        "fgr": outputs["foreground"][:, ::2, ::2],
        "err": outputs["error"][:, ::2, ::2],
        "hid": outputs["hidden"][:, ::8, ::8],
        "feat_x1": x1[:, ::4, ::4, ::4],
        "feat_x3": x3[:, ::2, ::2, :: channels[0]],
        "feat_x4": x4[..., :: channels[1]],
        "feat_aspp": captured["aspp"]["__call__"][0][..., ::8],
        "feat_dec_bn2": captured["decoder"]["bn2"]["__call__"][0][:, ::4, ::4, ::4],
    }
    for name, feature in features.items():
        assert_near(feature, golden[name], atol, name)


def at_patches(whole, golden, stride):
    """The 4x4 pixels of `whole` [1, H, W, C] at each of the golden's patches."""
    corners = stride * golden["patch_bhw"][:, 1:]
    return np.stack([whole[0, i : i + 4, j : j + 4] for i, j in corners])


@pytest.mark.parametrize(
    ("file", "backbone", "mode", "whole", "atol"),
    [
        ("bgmv2_refine_resnet50_sampling_256x320_s0", "resnet50", "sampling", True, 1e-4),
        (*SAMPLING, "sampling", True, 5e-4),
        (*SAMPLING, "sampling", False, 5e-4),
        (
            "bgmv2_refine_mobilenetv2_sampling_k1_160x192_s4",
            "mobilenet_v2",
            "sampling",
            False,
            5e-4,
        ),
        (
            "bgmv2_refine_mobilenetv2_thresholding_160x208_s2",
            "mobilenet_v2",
            "thresholding",
            True,
            5e-4,
        ),
        ("bgmv2_refine_resnet50_full_160x224_s3", "resnet50", "full", True, 1e-4),
    ],
)
def test_refinement_equals_official(monkeypatch, file, backbone, mode, whole, atol):
    """By patches and, where these cost more, as a whole image."""
    monkeypatch.setattr(bgmv2, "PATCH_COST", {1: 0, 3: 0} if not whole else {1: 99, 3: 99})
    golden, model, *rest = network(file, backbone, refine_mode=mode)
    outputs, captured = run(model, *rest)
    np.testing.assert_array_equal(outputs["refined"], golden["ref_sm"])
    for name, key in HEADS.items():
        assert_near(outputs[name], golden[key], atol, name)
    assert_near(outputs["foreground"][:, ::3, ::3], golden["fgr"], atol, "fgr")
    assert_near(captured["decoder"]["__call__"][0][:, ::4, ::4], golden["dec_raw"], atol, "dec_raw")
    if not whole or mode == "thresholding":
        return
    bn2 = np.asarray(captured["refiner"]["bn2"]["__call__"][0])
    last = np.asarray(captured["refiner"]["__call__"][0])
    if mode == "full":
        bn2, last = bn2[:, ::8, ::8], last[:, ::8, ::8]
    else:
        bn2, last = at_patches(bn2, golden, 2), at_patches(last, golden, 4)
    assert_near(bn2, golden["ref_bn2"], atol, "ref_bn2")
    assert_near(last, golden["ref_out"], atol, "ref_out")


def test_thresholding_refines_only_cells_above_the_threshold():
    """At each capacity, from no cell to so many that it refines the whole image."""
    _, model, variables, image, background = network(*SAMPLING)
    # Scale the errors away from 0 and 1, where many cells would be equal.
    last = variables["params"]["decoder"]["conv4"]
    is_error = np.arange(37) == 4
    last["kernel"] = np.where(is_error, np.float32(0.1), np.float32(1)) * last["kernel"]
    last["bias"] = np.where(is_error, np.float32(0.5), last["bias"])

    @jax.jit
    def forward(variables, image, background, threshold):
        one = model.clone(refine_mode="thresholding", threshold=threshold)
        full = model.clone(refine_mode="full")
        return tuple(x.apply(variables, image=image, background=background) for x in (one, full))

    counts = []
    coarse, full = forward(variables, image, background, np.float32(2))
    error = np.asarray(coarse["coarse_error"])
    for share in (0, 0.01, 0.03, 0.06, 0.12, 0.3):
        threshold = np.float32(np.quantile(error, 1 - share))
        outputs, _ = forward(variables, image, background, threshold)
        mask = error > threshold
        counts.append(mask.mean())
        np.testing.assert_array_equal(outputs["refined"], mask)
        inside = np.repeat(np.repeat(mask, 4, 1), 4, 2)
        expected = np.where(inside, full["alpha"], coarse["alpha"])
        np.testing.assert_allclose(outputs["alpha"], expected, atol=2e-5)
    assert list(np.searchsorted([0, *CAPACITIES], counts)) == [0, 1, 2, 3, 4, 5]
    assert forward._cache_size() == 1  # frames of a video share one program


@pytest.mark.slow
def test_small_images_are_sampled_completely():
    """The default 80,000 pixels exceed 64 x 96; only errors above 0 are refined."""
    model = mj.create_model("bgmv2", backbone="mobilenet_v2")
    image, background = synth.image(64, 96, 3, 2, 0), synth.image(64, 96, 3, 2, 1)
    variables = jax.jit(model.init)(jax.random.key(0), image, background)
    outputs = jax.jit(model.apply)(variables, image, background)
    np.testing.assert_array_equal(outputs["refined"], outputs["coarse_error"] > 0)
    assert 0 < np.mean(outputs["refined"]) < 1


@pytest.mark.parametrize(
    ("backbone", "refine", "kernel_size", "parameters"),
    [
        ("mobilenet_v2", True, 3, 5_006_839),
        ("resnet50", True, 3, 40_247_703),
        ("resnet101", True, 3, 59_239_831),
        ("mobilenet_v2", False, 3, 4_991_395),
        ("mobilenet_v2", True, 1, 4_991_395 + 1_812),
    ],
)
def test_parameter_count_equals_official(backbone, refine, kernel_size, parameters):
    model = mj.create_model("bgmv2", backbone=backbone, refine=refine, kernel_size=kernel_size)
    image = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image, image)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == parameters


@pytest.mark.parametrize(
    ("keywords", "size", "message"),
    [
        ({}, (64, 66), "multiples of 4, got 64x66"),
        ({"backbone": "resnet34"}, (64, 64), "did you mean 'resnet50'"),
        ({"refine_mode": "threshold"}, (64, 64), "did you mean 'thresholding'"),
        ({"backbone_scale": 0.75}, (64, 64), "at most 0.5, got 0.75"),
        ({"kernel_size": 5}, (64, 64), "must be 3 or 1, got 5"),
        ({"sample_pixels": 15}, (64, 64), "at least 16"),
        ({"threshold": 1.5}, (64, 64), r"must lie in \[0, 1\], .*, got 1.5"),
    ],
)
def test_invalid_sizes_and_fields_raise(keywords, size, message):
    model, image = mj.create_model("bgmv2", **keywords), jnp.zeros((1, *size, 3))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), image, image)


def test_refinement_alone_pads_and_restores():
    image, background = (synth.image(50, 71, 3, 1, seed)[0] for seed in (0, 1))
    refine, base = (mj.create_model("bgmv2", refine=refine) for refine in (True, False))
    images = {"image": image, "background": background}
    alpha, passes = run_rule(bgmv2.predict, **images, model=refine)
    inputs = passes["alpha"]
    for name, photo in (("image", image), ("background", background)):
        assert inputs[name].shape == (1, 52, 72, 3)
        np.testing.assert_array_equal(inputs[name][0, :50, :71], photo)
        np.testing.assert_array_equal(inputs[name][0, 50, :71], photo[48])
    np.testing.assert_array_equal(alpha[..., 0], image[..., 0])
    _, passes = run_rule(bgmv2.predict, **images, model=base)
    np.testing.assert_array_equal(passes["alpha"]["image"][0], image)


def test_keys_drop_half_of_the_context():
    norm = partial(BatchNorm, use_running_average=True)
    aspp, x = (
        TorchvisionASPP(norm),
        np.random.default_rng(0).random((2, 6, 6, 8)).astype(np.float32),
    )
    variables = aspp.init(jax.random.key(0), x)
    keys = jax.random.split(jax.random.key(1))
    whole, dropped = aspp.apply(variables, x), aspp.apply(variables, x, keys)
    kept = dropped != 0
    np.testing.assert_allclose(dropped, np.where(kept, 2 * whole, 0))
    assert np.mean(kept[whole > 0]) == pytest.approx(0.5, abs=0.03)
    other = aspp.apply(variables, x, keys[::-1])
    np.testing.assert_array_equal(
        (other != 0)[0][(whole > 0)[0] & (whole > 0)[1]], kept[1][(whole > 0)[0] & (whole > 0)[1]]
    )


def test_initialisation_equals_official():
    """torchvision's backbone except its first kernel; PyTorch's defaults for the rest."""
    model = mj.create_model("bgmv2", backbone="mobilenet_v2")
    image = jnp.zeros((1, 32, 32, 3))
    params = jax.jit(model.init)(jax.random.key(0), image, image)["params"]
    for kernel, bound in (
        (params["backbone"]["features_0_0"]["kernel"], np.sqrt(1 / (9 * 6))),
        (params["aspp"]["convs_1_0"]["kernel"], np.sqrt(1 / (9 * 320))),
        (params["decoder"]["conv4"]["kernel"], np.sqrt(1 / (9 * 54))),
        (params["refiner"]["conv1"]["kernel"], np.sqrt(1 / (9 * 42))),
        (params["decoder"]["conv4"]["bias"], np.sqrt(1 / (9 * 54))),
    ):
        assert 0.85 * bound < np.abs(kernel).max() <= bound
    for kernel, fan_out in (
        (params["backbone"]["features_17"]["conv_6"]["kernel"], 320),
        (params["backbone"]["features_17"]["conv_3"]["kernel"], 9 * 960),
    ):
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / fan_out), rel=0.03)


@pytest.fixture(scope="module")
def official_step():
    """Our step from the golden's weights: outputs, terms, and tensors by official names."""
    golden, model, variables, image, background = network(
        "bgmv2_train_resnet50_128x160_s5", "resnet50"
    )
    alpha = np.clip((synth.image(128, 160, 1, 2, 205) - 0.5) * 3 + 0.5, 0, 1)
    truth = {"alpha": alpha, "foreground": synth.image(128, 160, 3, 2, 305)}

    def loss(params):
        outputs, updated = model.apply(
            variables | {"params": params}, image, background, train=True, mutable=["batch_stats"]
        )
        total, terms = task.loss(outputs, {}, truth, None)
        return total, (outputs, updated["batch_stats"], {"total": total, **terms})

    gradient, aux = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    outputs, statistics, terms = aux
    tensors = mj.to_state_dict("bgmv2", {"params": gradient, "batch_stats": statistics})
    return golden, outputs, terms, tensors


def test_cut_out_has_the_foreground_of_the_network_at_the_size_of_the_photo():
    file = "bgmv2_refine_mobilenetv2_sampling_k1_160x192_s4"
    golden, model, variables, image, background = network(file, "mobilenet_v2")
    keywords = {x: getattr(model, x) for x in ("backbone", "kernel_size", "sample_pixels")}
    matter = mj.Matter("bgmv2", variables, **keywords)
    alpha, foreground = matter.cut_out(image[0], background=background[0])
    assert_near(alpha, golden["pha"][0, ..., 0], 5e-4, "alpha")
    assert_near(foreground[::3, ::3], golden["fgr"][0], 5e-4, "foreground")
    # Sides that are not multiples of 4 are padded for the network.
    photo, empty = image[0, :158, :189], background[0, :158, :189]
    alpha, foreground = matter.cut_out(photo, background=empty)
    heads = matter.heads(photo, background=empty)
    # Both cut-outs are of one program.
    assert [x.heads for x in matter.programs.compiled] == [("alpha", "foreground"), ()]
    assert alpha.shape == (158, 189) and foreground.shape == (158, 189, 3)
    np.testing.assert_allclose(alpha, heads["alpha"][:158, :189, 0], atol=1e-5)
    np.testing.assert_allclose(foreground, heads["foreground"][:158, :189], atol=1e-5)
    assert np.abs(foreground - photo).max() > 0.1


LOSSES = {
    "alpha": "pha_lg",
    "coarse_alpha": "pha_sm",
    "sobel": "sobel_lg",
    "coarse_sobel": "sobel_sm",
    "foreground": "fgr_lg",
    "coarse_foreground": "fgr_sm",
    "error": "err",
}


@pytest.mark.slow
def test_training_outputs_and_losses_equal_official(official_step):
    golden, outputs, terms, _ = official_step
    np.testing.assert_array_equal(outputs["refined"], golden["ref_sm"])
    for name, ours in (
        ("pha", outputs["alpha"][:, ::2, ::2]),
        ("fgr", outputs["foreground"][:, ::4, ::4]),
        ("pha_sm", outputs["coarse_alpha"]),
        ("fgr_sm", outputs["coarse_foreground"]),
        ("err_sm", outputs["coarse_error"]),
    ):
        np.testing.assert_allclose(ours, golden[name], atol=2e-4, err_msg=name)
    assert float(terms["total"]) == pytest.approx(float(golden["loss_total"]), abs=1e-4)
    for name, key in LOSSES.items():
        assert float(terms[name]) == pytest.approx(float(golden[f"loss_{key}"]), abs=1e-4)


@pytest.mark.slow
def test_statistics_equal_official(official_step):
    """The refiner's are those of its patches; those of the pooling branch have two values each."""
    golden, _, _, tensors = official_step
    keys = [key for key in golden if key.startswith("stats/")]
    assert len(keys) == 10
    for key in keys:
        ours = tensors[key.removeprefix("stats/")]
        np.testing.assert_allclose(ours, golden[key], rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.slow
def test_gradients_equal_official(official_step):
    """To the accuracy of float32, in which signs of the L1 losses flip."""
    golden, _, _, tensors = official_step
    keys = [key for key in golden if key.startswith("grad/")]
    assert len(keys) == 6
    for key in keys:
        ours, theirs = tensors[key.removeprefix("grad/")], golden[key]
        np.testing.assert_allclose(ours, theirs, atol=0.03 * np.abs(theirs).max(), err_msg=key)
    for part in ("backbone", "aspp", "decoder", "refiner"):
        squares = [
            np.square(x).sum()
            for name, x in tensors.items()
            if name.startswith(part) and name.endswith(("weight", "bias"))
        ]
        expected = float(golden[f"gradnorm/{part}"])
        assert np.sqrt(sum(squares)) == pytest.approx(expected, rel=0.01), part
