import logging
from pathlib import Path

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.train import initial_variables, training_model
from tests.goldens import synth

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture
def matter(config):
    variables = initial_variables(config, training_model(config))
    return mj.Matter("tiny", variables, test_time={"reference_size": 32})


def photo(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(40, 50), (32, 32), (1, 1), (7, 300)])
def test_alpha_is_float32_of_the_size_of_the_photo(matter, size):
    alpha = matter(photo(*size))
    assert alpha.dtype == np.float32 and alpha.shape == size
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_bytes_and_floats_of_one_photo_give_one_alpha(matter):
    image = photo()
    alpha = matter(image)
    assert alpha.std() > 0.01
    np.testing.assert_allclose(matter((image / 255).astype(np.float32)), alpha, atol=1e-6)
    np.testing.assert_allclose(matter(image / 255), alpha, atol=1e-6)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (np.zeros((4, 4), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.full((4, 4, 3), 1.5, np.float32), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
        (np.full((4, 4, 3), 200.0, np.float32), r"\[0, 1\]"),
    ],
)
def test_wrong_photo_is_refused_in_a_sentence(matter, wrong, words):
    with pytest.raises(ValueError, match=words):
        matter(wrong)


def test_each_network_size_is_compiled_and_logged_once(matter, caplog):
    with caplog.at_level(logging.INFO, logger="matting_jax"):
        for size in ((40, 50), (41, 44), (40, 50), (30, 100), (31, 101)):
            matter(photo(*size))
    assert matter.alpha._cache_size() == 2
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["compiling tiny for 32 x 32", "compiling tiny for 32 x 96"]


def test_heads_hold_all_outputs_of_the_network(matter):
    heads = matter.heads(photo(32, 32))
    shapes = {name: head.shape for name, head in heads.items()}
    assert shapes == {"alpha": (32, 32, 1), "detail": (32, 32, 1), "semantic": (2, 2, 1)}
    np.testing.assert_allclose(heads["alpha"][..., 0], matter(photo(32, 32)), atol=1e-6)


def test_new_variables_are_used(matter):
    before = matter(photo())
    matter.variables = jax.tree.map(lambda x: 0 * x, matter.variables)
    after = matter(photo())
    np.testing.assert_allclose(after, 0.5, atol=1e-6)
    assert np.abs(before - after).max() > 0.01


def test_unknown_network_and_keyword_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'modnet'"):
        mj.Matter("modnett", {})
    with pytest.raises(ValueError, match="did you mean 'context'"):
        mj.Matter("modnet", {}, contxt="se")


def test_modnet_equals_the_official_image_demo(official):
    golden = np.load(GOLDENS / "modnet_300x420_s1.npz")
    with pytest.warns(UserWarning, match="tensors differ"):
        variables = mj.from_state_dict("modnet", official)
    matter = mj.Matter("modnet", variables)
    alpha = matter(synth.image(300, 420, 3, 1, 1)[0])
    assert matter.sizes == {tuple(golden["net_size"])}
    np.testing.assert_allclose(alpha, np.squeeze(golden["alpha"]), atol=1e-3)
