"""Tests the record that every file of weights carries, written and read back."""

import gc
import json

import jax
import numpy as np
import pytest
from safetensors import safe_open

import matting_jax as mj
from matting_jax.config import defaults, flatten, read_config
from matting_jax.convert import identity as identities
from matting_jax.convert.files import read_state_dict, write_state_dict
from matting_jax.convert.identify import find_identity, recognise
from matting_jax.convert.identity import (
    LOCAL,
    Identity,
    as_record,
    config_of,
    differences,
    identity_of_run,
    read_identity,
    recall,
    remember,
    side_car,
    without_paths,
    write_weights,
)
from matting_jax.convert.program import convert
from matting_jax.convert.tables import official_shapes
from matting_jax.models import NETWORKS, create_model, example_inputs
from tests.helpers import assert_same

SUFFIXES = ("safetensors", "pdparams", "pth")


def needs_torch(suffix):
    if suffix == "pth":
        pytest.importorskip("torch")


def identity(**fields):
    return Identity("tiny", {"flavour": "paddle"}, {"reference_size": 64}, **fields)


TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_returns_the_identity_with_which_it_was_written(tmp_path, suffix):
    needs_torch(suffix)
    path = tmp_path / f"x.{suffix}"
    written = identity(
        origin={"run": "modnet", "step": 3}, config={"data": {"crop": {"rescale": (1, 2)}}}
    )
    write_weights(path, TENSORS, written)
    assert side_car(path).exists() == (suffix != "safetensors")
    read = read_identity(path)
    assert (read.network, read.keywords, read.test_time, read.origin) == (
        written.network,
        written.keywords,
        written.test_time,
        written.origin,
    )
    assert config_of(read).data.crop.rescale == (1, 2)
    if suffix == "safetensors":
        with safe_open(path, framework="numpy") as file:
            assert json.loads(file.metadata()["matting_jax"])["matting_jax"] == mj.__version__


def test_record_of_another_file_is_ignored_with_a_warning(tmp_path, caplog):
    path = tmp_path / "x.pdparams"
    write_weights(path, TENSORS, identity())
    write_state_dict(path, {"a": TENSORS["a"] + 1})
    assert read_identity(path) is None
    assert "x.pdparams.json is the record of another file" in caplog.text


@pytest.mark.parametrize("text", ["", "[1]", '{"network": "tiny"}', "\xff", '{"matting_jax": 1}'])
def test_file_beside_that_is_no_record_is_ignored(tmp_path, text):
    path = tmp_path / "x.pdparams"
    write_state_dict(path, TENSORS)
    side_car(path).write_text(text, encoding="latin1")
    assert read_identity(path) is None


@pytest.mark.parametrize("fields", [{"network": 3}, {"keywords": [1]}, {"config": "modnet"}])
def test_record_with_fields_of_other_types_is_called_damaged(tmp_path, fields):
    path = tmp_path / "x.safetensors"
    record = {"matting_jax": "0.1.0", "network": "tiny", **fields}
    write_state_dict(path, TENSORS, {"matting_jax": json.dumps(record)})
    with pytest.raises(ValueError, match="the record of .*x.safetensors is damaged"):
        read_identity(path)


def test_weights_are_written_as_pth_tar(tmp_path):
    pytest.importorskip("torch")
    write_weights(tmp_path / "x.pth.tar", TENSORS, identity())
    assert read_identity(tmp_path / "x.pth.tar").network == identity().network
    assert read_state_dict(tmp_path / "x.pth.tar").keys() == TENSORS.keys()


def test_paths_of_this_machine_and_what_they_replace_are_not_written(finished):
    workdir, config, _ = finished
    assert set(LOCAL) <= flatten(defaults()).keys()
    record = as_record(identity_of_run(workdir))
    assert record["origin"] == {"run": "run"}
    assert str(workdir.parent.parent) not in json.dumps(record)
    assert config.data.test.images and config.data.test.dataset == "sample"
    assert "dataset" not in record["config"]["data"]["test"]
    assert "dataset" not in record["config"]["data"]["train"]
    assert record["config"]["optimizer"]["learning_rate"] == 0.02
    kept = {"data": {"train": {"dataset": "am2k", "images": ""}}}
    assert without_paths(kept) == {"data": {"train": {"dataset": "am2k"}}}


def test_config_of_a_run_survives_the_file(finished, tmp_path):
    workdir, _, _ = finished
    path = tmp_path / "x.safetensors"
    write_weights(path, TENSORS, identity_of_run(workdir))
    found, expected = flatten(config_of(read_identity(path))), flatten(read_config(workdir))
    changed = {name for name in expected if found.get(name) != expected[name]}
    assert changed <= {*LOCAL, "data.train.dataset", "data.test.dataset"}
    assert found["test_time.reference_size"] == 32 and found["model.flavour"] == "official"


def converted(workdir, tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    convert(read_config(workdir), workdir, str(path))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_converted_run_says_where_it_comes_from(finished, tmp_path, suffix):
    needs_torch(suffix)
    workdir, *_ = finished
    path = converted(workdir, tmp_path, suffix)
    found = find_identity(path)
    step = recall(mj.load_checkpoint("tiny", workdir)).origin["step"]
    assert found.network == "tiny" and found.test_time == {"reference_size": 32}
    assert found.origin == {"run": "run", "step": step} and step in (2, 4)
    again = tmp_path / "again.safetensors"
    convert(config_of(found), path, str(again))
    assert_same(mj.load_checkpoint("tiny", again), mj.load_checkpoint("tiny", workdir))
    origin = find_identity(again).origin
    assert (origin["run"], origin["step"], origin["file"]) == ("run", step, path.name)
    assert len(origin["sha256"]) == 64


def test_converting_replaces_no_file_that_lies_where_the_record_will(finished, tmp_path):
    side_car(tmp_path / "x.pdparams").write_text("mine")
    with pytest.raises(FileExistsError, match="x.pdparams.json exists already"):
        converted(finished[0], tmp_path, "pdparams")
    assert side_car(tmp_path / "x.pdparams").read_text() == "mine"
    assert not (tmp_path / "x.pdparams").exists()


def test_identity_is_recalled_from_the_variables_while_they_live():
    variables = {"params": {"b": np.ones(2), "a": np.zeros(3)}}
    remember(variables, identity())
    assert recall({"params": dict(variables["params"])}) == identity()
    assert recall(jax.tree.map(np.copy, variables)) is None and recall({}) is None
    key = id(variables["params"]["a"])
    del variables
    gc.collect()
    assert key not in identities._KNOWN


def test_differences_ignore_what_only_changes_how_a_network_runs():
    model = create_model("tiny", flavour="paddle", dtype=np.float16, frozen_statistics=True)
    assert differences(identity(), model, {"reference_size": 64}) == []
    assert differences(identity(), create_model("tiny"), {}) == [
        "flavour is 'official', theirs 'paddle'",
        "reference_size is 512, theirs 64",
    ]


def zeros(model):
    """Returns the tensors of an official file, without memory."""
    shapes = official_shapes(model)
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "network, keywords, known",
    [
        ("modnet", {}, None),
        ("modnet", {"flavour": "paddle"}, "modnet"),
        ("gfm", {}, "gfm"),
        ("bisenet_v2", {"num_classes": 150, "statistics": "ade20k"}, "bisenet_v2"),
    ],
)
def test_network_is_told_by_its_tensors(network, keywords, known, tmp_path):
    model = create_model(network, **keywords)
    assert recognise(tmp_path, {"state_dict": zeros(model), "epoch": {}}, known) == model


@pytest.mark.slow
def test_every_network_is_told_by_its_tensors(tmp_path):
    for network in NETWORKS:
        if network.startswith("tiny"):
            continue
        model = create_model(network)
        assert recognise(tmp_path, zeros(model)) == model
        assert config_of(Identity(network)).name == network


def test_tensors_that_tell_too_little_are_an_error(tmp_path):
    model = create_model("gfm", rosta="bt")
    with pytest.raises(ValueError, match="whether rosta is 'ft' or 'bt'"):
        recognise(tmp_path / "x.pth", zeros(model), "gfm")
    with pytest.raises(ValueError, match="x.pth has no record of its network"):
        recognise(tmp_path / "x.pth", TENSORS, "tiny")


def test_official_file_is_known_by_its_name_and_by_its_tensors(tmp_path, tiny):
    model = create_model(tiny)
    variables = model.init(jax.random.key(0), **example_inputs(model))
    path = tmp_path / "x.safetensors"
    write_state_dict(path, mj.to_state_dict(tiny, variables))
    found = find_identity(path, tiny)
    assert found.network == tiny and found.origin == {"file": "x.safetensors"}
    assert config_of(found).test_time.reference_size == 512
    ft = tmp_path / "gfm_r34_ft.pth"
    ft.write_bytes(b"")
    assert find_identity(ft).keywords == {"backbone": "resnet34", "rosta": "ft"}
    with pytest.raises(ValueError, match="holds gfm, not modnet"):
        find_identity(ft, "modnet")
