"""Checkpoint files are read back as written; unreadable ones are rejected in one line."""

import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.config import load_config
from matting_jax.convert.files import (
    SUFFIXES,
    TORCH_SUFFIXES,
    read_state_dict,
    write_format,
    write_state_dict,
)
from matting_jax.convert.tables import official_shapes
from matting_jax.tasks.task import mad
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim
from tests.convert.weights import TENSORS, rejection
from tests.helpers import MODNET


@pytest.fixture(scope="module")
def variables(official):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mj.from_state_dict("modnet", official)


@pytest.fixture(scope="module")
def workdir(variables, compiled_once, tmp_path_factory):
    """A workdir of MODNet with one checkpoint."""
    config = load_config(MODNET, "")
    config.compilation_cache = str(compiled_once)
    return workdir_of(config, variables, tmp_path_factory.mktemp("modnet") / "run")


def workdir_of(config, variables, folder):
    config.allocator = False
    claim(folder, config)
    manager = checkpoint.open_checkpoints(folder, mad)
    state = variables | {"step": np.int32(1), "opt_state": (), "ema": {}}
    checkpoint.save(manager, 1, state, {"mad": 0.5})
    manager.wait_until_finished()
    manager.close()
    return folder


def convert(workdir, output, *more):
    flags = [f"--workdir={workdir}", f"--output={output}", *more]
    return main(["launch.py", "--mode=convert", *flags], "")


def assert_same(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize("extension", [".safetensors", ".pdparams", ".ckpt", ".pth", ".pt"])
def test_written_tensors_are_read_back_bit_for_bit(tmp_path, extension):
    if extension in TORCH_SUFFIXES:
        pytest.importorskip("torch")
    path = tmp_path / f"x{extension}"
    write_state_dict(path, TENSORS)
    back = read_state_dict(path)
    assert back.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
    assert [x.name for x in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("extension", [".safetensors", ".ckpt"])
def test_converted_workdir_holds_its_variables_bit_for_bit(
    workdir, variables, tmp_path, extension, capsys
):
    if extension == ".ckpt":
        pytest.importorskip("torch")
    path = tmp_path / f"modnet{extension}"
    assert convert(workdir, path) == 0
    assert_same(mj.load_checkpoint("modnet", path), variables)
    assert_same(mj.load_checkpoint("modnet", workdir), variables)
    assert "751 tensors" in capsys.readouterr().out


def test_official_file_is_converted_to_another_format(workdir, variables, official, tmp_path):
    write_state_dict(tmp_path / "official.safetensors", official)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = f"--checkpoint={tmp_path / 'official.safetensors'}"
        assert convert(workdir, tmp_path / "new" / "copy.safetensors", source) == 0
    assert_same(mj.load_checkpoint("modnet", tmp_path / "new" / "copy.safetensors"), variables)


def test_converted_file_is_replaced_only_with_overwrite(workdir, tmp_path, capsys):
    path = tmp_path / "modnet.safetensors"
    path.write_bytes(b"mine")
    assert convert(workdir, path) == 2
    assert path.read_bytes() == b"mine" and "--overwrite" in capsys.readouterr().err
    assert convert(workdir, path, "--overwrite") == 0
    assert len(read_state_dict(path)) == 751


@pytest.mark.parametrize("output", ["modnet.onnx", "modnet", "modnet.safetensor"])
def test_unknown_extension_is_rejected_with_the_valid_ones(workdir, tmp_path, capsys, output):
    assert convert(workdir, tmp_path / output) == 2
    error = capsys.readouterr().err
    assert ".ckpt, .pth, .pt, .bin, .safetensors, .pdparams" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    (tmp_path / output).write_bytes(b"")
    assert "the extension must be one of" in rejection(tmp_path / output)


def test_workdir_of_another_model_is_rejected_with_both_variants(tmp_path):
    config = load_config(MODNET, "")
    config.model.context = "easpp"
    few = {"params": {"a": np.ones(2, np.float32)}, "batch_stats": {"b": np.zeros(2, np.float32)}}
    folder = workdir_of(config, few, tmp_path / "run")
    for keywords in ({}, {"context": "se"}):
        with pytest.raises(ValueError) as error:
            mj.load_checkpoint("modnet", folder, **keywords)
        expected = f"{folder} holds modnet with context='easpp', not with context='se'"
        assert str(error.value) == expected
    with pytest.raises(ValueError, match="holds modnet, not tiny"):
        mj.load_checkpoint("tiny", folder)
    model = mj.create_model("modnet", context="easpp")
    assert_same(checkpoint.load_variables(folder, model), few)


def test_config_without_a_newer_keyword_means_its_default(tmp_path):
    config = load_config(MODNET, "")
    config.model = {}
    few = {"params": {"a": np.ones(2, np.float32)}, "batch_stats": {"b": np.zeros(2, np.float32)}}
    folder = workdir_of(config, few, tmp_path / "run")
    for keywords in ({}, {"context": "se"}):
        assert_same(checkpoint.load_variables(folder, mj.create_model("modnet", **keywords)), few)
    with pytest.raises(ValueError, match="with context='se', not with context='none'"):
        mj.load_checkpoint("modnet", folder, context="none")


def test_output_is_required(workdir, capsys):
    assert main(["launch.py", "--mode=convert", f"--workdir={workdir}"], "") == 2
    assert "--output" in capsys.readouterr().err


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint file or workdir {tmp_path}/x.pth"):
        mj.load_checkpoint("modnet", tmp_path / "x.pth")


def test_missing_torch_is_reported_with_how_to_install_it(tmp_path, monkeypatch, workdir, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert convert(workdir, tmp_path / "modnet.ckpt") == 2
    error = capsys.readouterr().err
    assert "pip install" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert convert(workdir, tmp_path / "modnet.safetensors") == 0


def test_variables_are_float32_whatever_the_file_holds(official):
    half = {
        name: x.astype(np.float16) if x.dtype == np.float32 else x for name, x in official.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variables = mj.from_state_dict("modnet", half)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype("float32")}


@pytest.mark.parametrize(
    "extension", [".PTH", ".Ckpt", ".bin", ".SafeTensors", ".PDPARAMS", ".pth.tar", ".PT.TAR"]
)
def test_case_of_an_extension_does_not_matter(tmp_path, extension):
    if extension.lower().removesuffix(".tar") in TORCH_SUFFIXES:
        pytest.importorskip("torch")
    path = tmp_path / f"x{extension}"
    write_state_dict(path, TENSORS)
    back = read_state_dict(path)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(back[name], array)


def test_half_precision_safetensors_load_into_a_network(tmp_path):
    """As `model.bfloat16()` saved by the package's own writer for PyTorch."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    shapes = official_shapes(mj.create_model("tiny"))
    tensors = {name: torch.full(shape, 0.5).bfloat16() for name, shape in shapes.items()}
    save_file({f"model.{name}": x for name, x in tensors.items()}, tmp_path / "x.safetensors")
    for leaf in jax.tree.leaves(mj.load_checkpoint("tiny", tmp_path / "x.safetensors")):
        assert leaf.dtype == np.float32 and (leaf == 0.5).all()


def test_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "x.safetensors"
    write_state_dict(path, TENSORS)
    before = path.read_bytes()
    with pytest.raises(Exception):  # noqa: B017 - whatever the library raises
        write_state_dict(path, {"a": np.array([object()])})
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_that_cannot_be_written_is_in_the_error(tmp_path, suffix):
    if suffix in TORCH_SUFFIXES:
        pytest.importorskip("torch")
    with pytest.raises(OSError) as error:
        write_format(suffix, tmp_path / "nowhere" / "x", TENSORS)
    assert Path(error.value.filename) == tmp_path / "nowhere" / "x"
