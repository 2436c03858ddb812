"""Weights are found in the files of other training code, and reported where they do not fit."""

import argparse
import logging
import pickle
from pathlib import PurePosixPath

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import matting_jax as mj
from matting_jax.convert import describe, load_backbone
from matting_jax.convert.files import read_content
from matting_jax.convert.find import find_tensors
from matting_jax.convert.tables import official_shapes
from matting_jax.models import NETWORKS

GUESSED = "matting_jax.convert.guesses.NETWORKS"


def weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = official_shapes(mj.create_model("tiny"))
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def prefixed(prefix, tensors):
    return {prefix + name: x for name, x in tensors.items()}


COUNTER = {"n_averaged": np.array(7), "module.lr_branch.norm.num_batches_tracked": np.array(3)}
OPTIMIZER = {
    "state": {0: {"step": np.array(3.0), "exp_avg": np.ones((3, 3))}},
    "param_groups": [{"lr": 0.1}],
}
FORMS = {
    "bare": lambda x: x,
    "DataParallel": lambda x: prefixed("module.", x),
    "compiled": lambda x: prefixed("_orig_mod.", x),
    "compiled in parallel": lambda x: prefixed("module._orig_mod.", x),
    "compiled parts": lambda x: {n.replace(".", "._orig_mod.", 1): y for n, y in x.items()},
    "sharded": lambda x: {
        f"_fsdp_wrapped_module.{n.replace('.', '._fsdp_wrapped_module._orig_mod.', 1)}": y
        for n, y in x.items()
    },
    "recomputed": lambda x: {
        n.replace(".conv.", ".conv._checkpoint_wrapped_module."): y for n, y in x.items()
    },
    "parallel in compiled": lambda x: prefixed("_orig_mod.module.", x),
    "Lightning": lambda x: {
        "state_dict": prefixed("model.", x),
        "optimizer_states": [OPTIMIZER],
        "pytorch-lightning_version": "2.0",
        "hyper_parameters": {"lr": 0.1},
    },
    "unknown prefix": lambda x: prefixed("matting.net.", x),
    "model and optimizer": lambda x: {"model": x, "optimizer": OPTIMIZER, "epoch": 3},
    "model_state_dict": lambda x: {"epoch": 3, "model_state_dict": x, "loss": 0.5},
    "unknown name": lambda x: {"best": {"student": prefixed("module.", x)}, "iter": 3},
    "AveragedModel": lambda x: COUNTER | prefixed("module.", x),
    "params": lambda x: {"params": x},
    "Lightning with a student": lambda x: {
        "state_dict": prefixed("student.", x),
        "hyper_parameters": argparse.Namespace(lr=0.1, root=PurePosixPath("data")),
        "callbacks": {"ModelCheckpoint": {"best_model_score": np.float32(0.5)}},
    },
    "Lightning of a net": lambda x: {"state_dict": prefixed("net.", x), "epoch": 3},
    "ModelEMA": lambda x: {"ema": {"module": x, "decay": 0.99}, "optimizer": OPTIMIZER},
    "by module": lambda x: {
        part: {
            name.removeprefix(f"{part}."): y for name, y in x.items() if name.startswith(f"{part}.")
        }
        for part in ("backbone", "lr_branch", "hr_branch", "f_branch")
    },
}


def same(variables, expected):
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extension", [".pth", ".pdparams"])
def test_weights_are_found_in_every_form(tmp_path, form, extension):
    tensors = weights()
    path, content = tmp_path / f"x{extension}", FORMS[form](tensors)
    if extension == ".pth":
        torch = pytest.importorskip("torch")
        as_torch = jax.tree.map(
            lambda x: torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x, content
        )
        torch.save(as_torch, path)
    else:
        if form == "Lightning with a student":
            pytest.skip("Paddle's files hold arrays alone")
        path.write_bytes(pickle.dumps(content))
    same(mj.load_checkpoint("tiny", path), mj.from_state_dict("tiny", tensors))


AVERAGES = {
    "BasicSR": lambda x, y: {"params": x, "params_ema": y},
    "timm": lambda x, y: {"state_dict": x, "state_dict_ema": y, "epoch": 3},
    "nested": lambda x, y: {"model": x, "ema": {"module": y, "updates": 4}},
    "one dict": lambda x, y: prefixed("model.", x) | prefixed("model_ema.module.", y),
    "beside bare names": lambda x, y: x | prefixed("ema_model.", y),
}


@pytest.mark.parametrize("form", AVERAGES)
def test_moving_average_is_preferred_and_said(form, caplog):
    plain, average = weights(1), weights(2)
    with caplog.at_level(logging.INFO, "matting_jax"):
        variables = mj.from_state_dict("tiny", AVERAGES[form](plain, average))
    same(variables, mj.from_state_dict("tiny", average))
    assert "the moving average is used" in caplog.text and "ema" in caplog.text


def test_moving_average_that_does_not_fit_is_not_used():
    average = weights(2)
    average.popitem()
    variables = mj.from_state_dict("tiny", {"params": weights(1), "params_ema": average})
    same(variables, mj.from_state_dict("tiny", weights(1)))


def test_several_sets_that_differ_are_refused_and_equal_ones_are_read():
    with pytest.raises(ValueError, match="several sets of weights that fit: first, second"):
        mj.from_state_dict("tiny", {"first": weights(1), "second": weights(2)})
    variables = mj.from_state_dict("tiny", {"first": weights(1), "second": weights(1)})
    same(variables, mj.from_state_dict("tiny", weights(1)))


def test_tensors_beside_those_of_the_network_are_listed(monkeypatch):
    monkeypatch.setattr(GUESSED, {"tiny": NETWORKS["tiny"]})
    tensors = prefixed("model.", weights()) | {"loss.weight": np.ones(1)}
    with pytest.raises(
        ValueError,
        match=r"tiny \(flavour='official'\):\n  unexpected loss.weight$",
    ):
        mj.from_state_dict("tiny", tensors)


words = st.sampled_from(["module", "_orig_mod", "model", "net", "a_1", "f_branch", "weight", "x"])


@settings(max_examples=50, deadline=None)
@given(st.lists(words, max_size=4), st.lists(words, max_size=4), st.booleans())
def test_any_prefix_and_any_nesting_is_found(outer, inner, other):
    shapes = official_shapes(mj.create_model("tiny"))
    expected = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    content = prefixed("".join(f"{word}." for word in inner), expected)
    for word in reversed(outer):
        content = {word: content} | ({"optimizer": OPTIMIZER["state"]} if other else {})
    assert find_tensors(content, shapes).keys() == expected.keys()


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model.encoder."])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "weights"])
def test_backbone_is_found_in_every_form(tmp_path, prefix, key):
    held = {x: y for x, y in weights().items() if x.startswith("backbone.")}
    variables = mj.from_state_dict("tiny", weights(3))
    tensors = prefixed(prefix, held)
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({key: tensors, "optimizer": OPTIMIZER} if key else tensors))
    model = mj.create_model("tiny")
    loaded = load_backbone(model, path, variables)
    same(loaded["params"]["backbone"], mj.from_state_dict("tiny", weights())["params"]["backbone"])
    same(loaded["params"]["lr_branch"], variables["params"]["lr_branch"])


@pytest.fixture
def two_networks(monkeypatch):
    """Lets only two networks be guessed, since the tables of all take long."""
    monkeypatch.setattr(GUESSED, {x: NETWORKS[x] for x in ("tiny", "dim")})


def zeros(name, **keywords):
    shapes = official_shapes(mj.create_model(name, **keywords))
    return {n: np.broadcast_to(np.float32(0), shape) for n, shape in shapes.items()}


@pytest.mark.parametrize(
    "name, wrapped, keywords",
    [
        ("tiny", prefixed("module.", zeros("dim")), {}),
        ("tiny", {"model": zeros("dim", refine=False)}, {"refine": False}),
        ("dim", zeros("dim", refine=False), {"refine": False}),
    ],
    ids=["network", "network and variant", "variant"],
)
def test_file_of_another_network_is_reported_in_20_lines_with_a_guess(
    two_networks, name, wrapped, keywords
):
    with pytest.raises(ValueError) as error:
        mj.from_state_dict(name, wrapped)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"this is not a checkpoint of {name}") and len(lines) <= 20
    assert (
        lines[-1] == f"it looks like a checkpoint of {describe(mj.create_model('dim', **keywords))}"
    )


def test_lines_that_are_omitted_are_counted(two_networks):
    wrapped = {f"layer{i}.weight": np.ones(2) for i in range(100)}
    with pytest.raises(ValueError) as error:
        mj.from_state_dict("tiny", wrapped)
    lines = str(error.value).splitlines()
    total = 100 + len(weights())
    assert len(lines) == 20 and lines[-1] == f"  and {total - 18} more"


def test_report_counts_each_kind_and_lists_wrong_shapes_first(monkeypatch):
    monkeypatch.setattr(GUESSED, {"tiny": NETWORKS["tiny"]})
    tensors = weights()
    first, *_, last = tensors
    tensors[last] = np.ones((1, 2, 3), np.float32)
    wanted = official_shapes(mj.create_model("tiny"))[last]
    del tensors[first]
    tensors |= {f"head.{i}.{'long' * 100}": np.ones(1, np.float32) for i in range(40)}
    with pytest.raises(ValueError) as error:
        mj.from_state_dict("tiny", tensors)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("(1 other shapes, 1 missing, 40 unexpected):")
    assert lines[1:3] == [f"  {last} has shape (1, 2, 3), expected {wanted}", f"  missing {first}"]
    assert lines[3].startswith("  unexpected head.0.") and len(lines) == 20
    assert lines[-1] == "  and 24 more" and max(map(len, lines)) < 310


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_with_name_and_number(value):
    tensors = weights()
    name = "hr_branch.conv.weight"
    tensors[name].flat[:3] = value
    size = tensors[name].size
    with pytest.raises(ValueError) as error:
        mj.from_state_dict("tiny", prefixed("module.", tensors))
    assert str(error.value) == (
        f"weights of tiny (flavour='official') are NaN or infinite: {name} (3 of {size} values)"
    )


def test_many_weights_that_are_not_finite_are_reported_in_20_lines():
    tensors = {name: np.full_like(x, np.nan) for name, x in zeros("dim", refine=False).items()}
    with pytest.raises(ValueError) as error:
        mj.from_state_dict("dim", tensors, refine=False)
    lines = str(error.value).splitlines()
    assert len(lines) == 20 and lines[-1] == f"  and {len(tensors) - 18} more"


def test_dicts_without_end_are_refused(tmp_path):
    content = {"a": np.ones(1)}
    content["self"] = content
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="more than 8 dicts inside each other"):
        read_content(path)
