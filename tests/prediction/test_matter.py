import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

import matting_jax as mj
from matting_jax.image.geometry import resize_bilinear
from matting_jax.models import NETWORKS, gfm, modnet
from matting_jax.models.network import TrimapRule
from matting_jax.prediction import trimap_from
from matting_jax.training.state import initial_variables, training_model
from tests.goldens import synth
from tests.helpers import GOLDENS, run_rule

sides = st.integers(1, 5000)


@pytest.fixture
def matter(config):
    variables = initial_variables(config, training_model(config))
    return mj.Matter("tiny", variables, test_time={"reference_size": 32})


def photo(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(40, 50), (32, 32), (1, 1), (20, 900)])
def test_alpha_is_float32_of_the_size_of_the_photo(matter, size):
    alpha = matter(photo(*size))
    assert alpha.dtype == np.float32 and alpha.shape == size
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_uint8_and_float_photos_give_equal_alphas(matter):
    image = photo()
    alpha = matter(image)
    assert alpha.std() > 0.01
    np.testing.assert_array_equal(matter(image.astype(np.float32) / 255), alpha)
    np.testing.assert_array_equal(matter(image / 255), alpha)


def test_memory_layout_does_not_matter_and_the_photo_is_unchanged(matter):
    image = photo()
    alpha = matter(image)
    strided = np.zeros((80, 50, 6), np.uint8)[::2, :, ::2]
    strided[:] = image
    for same in (strided, np.asfortranarray(image), np.float32(image)[:, ::-1][:, ::-1] / 255):
        before = same.copy()
        same.flags.writeable = False
        np.testing.assert_array_equal(matter(same), alpha)
        np.testing.assert_array_equal(same, before)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (np.zeros((4, 4), np.uint8), r"\[H, W, 3\].*repeat grey values by np.dstack"),
        (np.zeros((4, 4, 1), np.uint8), r"\[H, W, 3\].*repeat grey values by np.dstack"),
        (np.zeros((4, 4, 4), np.uint8), r"\[H, W, 3\].*drop the alpha"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.zeros((4, 4, 3), np.uint16), "uint16: divide it by .* 65535"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.full((4, 4, 3), 1.5, np.float32), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.inf), r"\[0, 1\]"),
        (np.full((4, 4, 3), 200.0, np.float32), "got 200 to 200: divide 0 to 255 by 255"),
        (np.full((4, 4, 3), np.nextafter(1, 2, dtype=np.float32)), "got 1.00000012 to"),
    ],
)
def test_wrong_photo_raises_an_error_that_says_what_to_do(matter, wrong, words):
    with pytest.raises(ValueError, match=words):
        matter(wrong)


@given(height=sides, width=sides, reference=st.integers(32, 640))
def test_network_sizes_are_valid(height, width, reference):
    size = modnet.network_size(height, width, reference)
    assert modnet.network_size(width, height, reference) == size[::-1]
    assert all(side >= 32 and side % 32 == 0 for side in size)
    assert max(size) <= max(height, width, 32 * reference)


def test_enlarged_strip_fits_in_memory():
    assert modnet.network_size(16, 512) == (32, 512)
    assert modnet.network_size(16, 511) == (512, 16352)
    assert modnet.network_size(1, 500) == (512, 16384)


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 9))
def test_photo_and_alpha_keep_their_range_and_size(height, width, seed):
    image = photo(height, width, seed).astype(np.float32) / 255
    model = mj.create_model("modnet")
    restored, passes = run_rule(modnet.predict, image=image, model=model, reference_size=40)
    small = passes["alpha"]["image"]
    assert small.shape == (1, *modnet.network_size(height, width, 40), 3)
    assert restored.shape == (height, width, 1)
    for averages in (small[0, ..., 0], restored):
        assert image[..., 0].min() - 1e-6 <= averages.min()
        assert averages.max() <= image[..., 0].max() + 1e-6


def test_each_network_size_is_compiled_and_logged_once(matter, caplog):
    with caplog.at_level(logging.INFO, logger="matting_jax"):
        for size in ((40, 50), (41, 44), (40, 50), (30, 100), (31, 101)):
            matter(photo(*size))
    messages = [record.getMessage().partition(" in ")[0] for record in caplog.records]
    assert messages == [
        f"{word} tiny for {size}"
        for size in ("32 x 32", "32 x 96")
        for word in ("compiling", "compiled")
    ]


def test_heads_hold_all_outputs_of_the_network(matter):
    heads = matter.heads(photo(32, 32))
    shapes = {name: head.shape for name, head in heads.items()}
    assert shapes == {"alpha": (32, 32, 1), "detail": (32, 32, 1), "semantic": (2, 2, 1)}
    np.testing.assert_allclose(heads["alpha"][..., 0], matter(photo(32, 32)), atol=1e-6)


def test_new_variables_are_used(matter):
    before = matter(photo())
    matter.set_variables(jax.tree.map(lambda x: 0 * x, matter.variables))
    after = matter(photo())
    np.testing.assert_allclose(after, 0.5, atol=1e-6)
    assert np.abs(before - after).max() > 0.01


def test_unknown_network_and_keyword_raise_errors_with_the_closest():
    with pytest.raises(ValueError, match="did you mean 'modnet'"):
        mj.Matter("modnett", {})
    with pytest.raises(ValueError, match="did you mean 'context'"):
        mj.Matter("modnet", {}, contxt="se")
    with pytest.raises(ValueError, match="option of modnet's test-time rule.*'reference_size'"):
        mj.Matter("modnet", {}, test_time={"reference": 512})


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        ("modnet", {"reference_size": 0}, r"reference_size must be in \[1, inf\), got 0"),
        ("modnet", {"reference_size": np.int64(-1)}, r"reference_size must be in \[1, inf\)"),
        ("modnet", {"reference_size": 32.5}, "reference_size must be a whole number, got 32.5"),
        ("modnet", {"reference_size": True}, "reference_size must be a whole number, got True"),
        ("gfm", {"scales": 0.5}, "scales must be a tuple, got 0.5"),
        ("gfm", {"scales": (0.0, 0.5)}, r"scales must be in \(0, inf\)"),
        ("gfm", {"exact": "no"}, "exact must be True or False, got 'no'"),
    ],
)
def test_options_of_another_type_or_range_raise(network, options, words):
    with pytest.raises(ValueError, match=f"test_time.{words}"):
        mj.Matter(network, {}, test_time=options)


def test_variables_of_another_network_raise(matter):
    other = dict(matter.variables, params={**matter.variables["params"], "f_branch": {}})
    for variables in (other, {"params": matter.variables["params"]}, {}):
        with pytest.raises(ValueError, match="not the variables of tiny .flavour='official'.: "):
            mj.Matter("tiny", variables)(photo())


def test_modnet_equals_the_official_image_demo(official):
    golden = np.load(GOLDENS / "modnet_300x420_s1.npz")
    with pytest.warns(UserWarning, match="tensors differ"):
        variables = mj.from_state_dict("modnet", official)
    matter = mj.Matter("modnet", variables)
    alpha = matter(synth.image(300, 420, 3, 1, 1)[0])
    assert matter.sizes == {tuple(golden["net_size"])}
    np.testing.assert_allclose(alpha, np.squeeze(golden["alpha"]), atol=1e-3)


@pytest.fixture
def trimap_matter(config):
    config.name = "tiny_trimap"
    variables = initial_variables(config, training_model(config))
    return mj.Matter("tiny_trimap", variables)


def codes(height=40, width=50):
    """A trimap with all three classes, uint8."""
    return np.random.default_rng(1).choice(np.uint8([0, 128, 255]), (height, width))


def test_known_pixels_are_set_from_the_trimap_and_others_from_the_network(trimap_matter):
    image, trimap = photo(), codes()
    alpha = trimap_matter(image, trimap=trimap)
    np.testing.assert_array_equal(alpha[trimap == 0], 0)
    np.testing.assert_array_equal(alpha[trimap == 255], 1)
    inputs = {
        "image": np.pad(image / np.float32(255), ((0, 24), (0, 14), (0, 0)), mode="reflect"),
        "trimap": np.pad(trimap / np.float32(256), ((0, 24), (0, 14)), mode="reflect")[..., None],
    }
    inputs["trimap"] = np.rint(2 * inputs["trimap"]) / 2
    outputs = trimap_matter.model.apply(
        trimap_matter.variables, **{name: x[None] for name, x in inputs.items()}
    )
    unknown = trimap == 128
    raw = np.asarray(outputs["alpha"])[0, :40, :50, 0]
    np.testing.assert_allclose(alpha[unknown], raw[unknown], rtol=1e-6)
    assert np.ptp(raw[unknown]) > 0.01
    heads = trimap_matter.heads(image, trimap=trimap)
    np.testing.assert_allclose(heads["alpha"][:40, :50, 0], raw, rtol=1e-5)


def test_uint8_and_float_trimaps_have_the_same_thirds(trimap_matter):
    image = photo(32, 32)
    grey = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    alpha = trimap_matter(image, trimap=grey)
    np.testing.assert_array_equal(alpha == 0, grey < 85)
    np.testing.assert_array_equal(alpha == 1, grey >= 170)
    np.testing.assert_array_equal(trimap_matter(image, trimap=grey / 255), alpha)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (None, "tiny_trimap needs a trimap for each photo: pass trimap= or trimap_from="),
        (np.zeros((40, 50, 1), np.uint8), r"\[H, W\], got shape \(40, 50, 1\)"),
        (np.zeros((40, 49), np.uint8), "49 x 40, the photo 50 x 40"),
        (np.zeros((40, 50), bool), "bool"),
        (codes() // 127, "its values are 0, 1 and 2 of 255, as of class numbers, .*255]..trimap.$"),
        (
            np.uint8([0, 1, 255])[codes() // 127],
            "its values are 0, 1 and 255 of 255, as of class numbers",
        ),
        (np.uint8([0, 50, 100])[codes() // 127], r"as in percent, .*\[trimap // 50\]$"),
        (np.full((40, 50), 128.0), r"\[0, 1\], got 128 to 128"),
        (np.full((40, 50), np.nan), r"\[0, 1\]"),
    ],
)
def test_wrong_trimap_raises_an_error_that_says_what_to_do(trimap_matter, wrong, words):
    with pytest.raises(ValueError, match=words):
        trimap_matter(photo(), trimap=wrong)


def test_trimap_raises_an_error_for_a_network_that_takes_none(matter):
    with pytest.raises(ValueError, match="tiny takes no trimap"):
        matter(photo(), trimap=codes())


@pytest.fixture
def chain(matter, trimap_matter, monkeypatch):
    """(network that makes trimaps of its alpha, network that takes them, function that chains
    both)."""
    rule = TrimapRule("alpha", 0.52, 0.0, {"alpha": (0,), "semantic": (0,)})
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], trimap=rule))

    def chained(**rule):
        return mj.Matter(
            "tiny_trimap", trimap_matter.variables, trimap_from=matter, trimap_rule=rule
        )

    return matter, trimap_matter, chained


def test_chain_gives_the_alpha_of_the_trimap_that_the_first_network_makes(chain):
    first, second, chained = chain
    image, both = photo(64, 70), chained()
    alpha = first(image)
    trimap = np.where(alpha >= 0.52, 1.0, np.where(1 - alpha >= 0.52, 0, 0.5)).astype(np.float32)
    assert all((trimap == code).mean() > 0.01 for code in (0, 0.5, 1))
    np.testing.assert_array_equal(first.make_trimap(image), trimap)
    assert both.needs == [] and second.needs == ["trimap"]
    np.testing.assert_array_equal(both(image), second(image, trimap=trimap))
    given = codes(64, 70)
    np.testing.assert_array_equal(both(image, trimap=given), second(image, trimap=given))


def test_fields_of_the_trimap_rule_are_replaced(chain):
    first, second, chained = chain
    image = photo(64, 70)
    semantic = resize_bilinear(first.heads(image)["semantic"], 64, 70)[..., 0]
    expected = trimap_from.trimap(semantic, 1 - semantic, 0.51, 0.02)
    both = chained(head="semantic", sure=0.51, margin=0.02)
    np.testing.assert_array_equal(both(image), second(image, trimap=expected))
    assert 0.01 < (expected == 0.5).mean() < 0.99


def test_wrong_chain_raises_an_error_that_says_what_to_do(chain):
    first, second, chained = chain
    with pytest.raises(ValueError, match="tiny takes no trimap: omit trimap_from"):
        mj.Matter("tiny", first.variables, trimap_from=first)
    with pytest.raises(ValueError, match="tiny_trimap makes no trimap: take a network that needs"):
        mj.Matter("tiny_trimap", second.variables, trimap_from=second)
    with pytest.raises(ValueError, match="did you mean 'semantic'"):
        chained(head="semantics")


class Glance(nn.Module):
    """A network with GFM's outputs and no weights; its three classes are side by side."""

    rosta: str = "tt"

    def __call__(self, image, *, train=False):
        glance = jnp.eye(3)[jnp.arange(12).reshape(1, 3, 4) % 3]
        outputs = {"glance": glance, "focus": image[..., :1], "alpha": image[..., :1]}
        return outputs if self.rosta == "tt" else {"alpha": image[..., :1], "glance_tt": glance}


def test_trimap_is_made_from_the_pass_in_which_the_rule_reads_its_head(monkeypatch):
    """GFM has its glance at a third of the photo's size, or runs once."""
    monkeypatch.setitem(NETWORKS, "glance", replace(gfm.NETWORK, module=Glance))
    for strategy, size in {"hybrid": (64, 128), "resize": (96, 192)}.items():
        first = mj.Matter("glance", {}, test_time={"strategy": strategy})
        trimap = first.make_trimap(photo(192, 384), {"margin": 0})
        assert first.sizes == {size}
        np.testing.assert_array_equal(
            trimap[32::64, 48::96], [[0, 0.5, 1, 0], [0.5, 1, 0, 0.5], [1, 0, 0.5, 1]]
        )
        assert first.heads(photo(192, 384))["focus"].shape == (96, 192, 1)
    first = mj.Matter("glance", {}, rosta="rim")
    with pytest.raises(ValueError, match="output of this glance 'glance': did you mean"):
        first.make_trimap(photo(192, 384))
