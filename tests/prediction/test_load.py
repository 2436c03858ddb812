"""A `Matter` from a run or a file alone, with the keywords and options that belong to it."""

import re
import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.config import read_config
from matting_jax.convert.identity import Identity, recall, write_weights
from matting_jax.convert.program import convert
from matting_jax.models import NETWORKS, example_inputs
from matting_jax.prediction.load import load_matter
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def photo(folders):
    return folders / "test" / "image" / "b.png"


@pytest.fixture(scope="module")
def alpha(finished, photo, tmp_path_factory):
    """Returns the 16-bit alpha that `--mode predict` writes for the photo."""
    output = tmp_path_factory.mktemp("predicted")
    launch(f"--workdir={finished[0]}", photo, output)
    return np.asarray(Image.open(output / "b_alpha.png"))


def launch(source, photo, output):
    flags = ["--mode=predict", f"--input={photo}", f"--output={output}", "--bits=16"]
    assert main(["launch.py", source, *flags, "--foreground=none"], "") == 0


def quantised(alpha):
    return np.rint(65535 * alpha)


def predicted(matter, photo):
    return quantised(matter(np.asarray(Image.open(photo))))


@pytest.fixture
def strict():
    """Makes warnings errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_snippet_of_the_readme_predicts_what_predict_writes(
    finished, photo, alpha, tmp_path, monkeypatch, strict
):
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert snippet.count('"pp_matting:human_512"') == snippet.count("alpha = ") == 1
    snippet = snippet.replace('"pp_matting:human_512"', '"runs/modnet"')  # without the internet
    (tmp_path / "photo.jpg").symlink_to(photo)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "modnet").symlink_to(finished[0])
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    np.testing.assert_array_equal(quantised(names["alpha"]), alpha)
    assert alpha.dtype == np.uint16 and np.ptp(alpha) > 0


@pytest.mark.parametrize("suffix", ["safetensors", "pdparams"])
def test_converted_file_alone_predicts_the_same(
    finished, photo, alpha, tmp_path, monkeypatch, suffix
):
    path = tmp_path / f"weights.{suffix}"
    convert(read_config(finished[0]), finished[0], str(path))
    np.testing.assert_array_equal(predicted(mj.load(path), photo), alpha)
    monkeypatch.chdir(tmp_path)
    launch(f"--checkpoint={path}", photo, tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "b_alpha.png")), alpha)


def test_weights_with_other_options_than_their_own_warn(finished, photo, alpha):
    workdir, config, _ = finished
    variables = mj.load_checkpoint("tiny", workdir)
    assert type(variables) is dict
    with pytest.warns(UserWarning, match="run.*reference_size is 512, theirs 32.*mj.load"):
        other = mj.Matter("tiny", variables)
    with pytest.warns(UserWarning, match="flavour is 'paddle', theirs 'official'"):
        mj.Matter("tiny", variables, test_time=config.test_time, flavour="paddle")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = mj.Matter("tiny", variables, test_time=config.test_time)
        mj.Matter("tiny", jax.tree.map(np.copy, variables))  # other variables
    np.testing.assert_array_equal(predicted(same, photo), alpha)
    assert (predicted(other, photo) != alpha).any()


def test_single_options_and_keywords_are_replaced(finished, strict):
    workdir, *_ = finished
    matter = mj.load(workdir, test_time={"reference_size": 64})
    assert matter.options["reference_size"] == 64
    paddle = mj.load(str(workdir), network="tiny", flavour="paddle")
    assert paddle.model.flavour == "paddle" and paddle.options["reference_size"] == 32
    assert recall(mj.load_checkpoint("tiny", workdir)).test_time == {"reference_size": 32}


def test_weights_that_do_not_fit_are_refused(finished, trimap_weights):
    with pytest.raises(ValueError, match="run holds tiny, not modnet"):
        mj.load(finished[0], network="modnet")
    with pytest.raises(ValueError, match="not those of tiny_trimap .refine=False."):
        mj.load(trimap_weights, refine=False)
    with pytest.raises(FileNotFoundError, match="no checkpoint file or workdir nowhere"):
        mj.load("nowhere")
    with pytest.raises(ValueError, match="unknown keyword of tiny 'flavor'.*'flavour'"):
        mj.load(finished[0], flavor="paddle")


@pytest.fixture(scope="module")
def trimap_weights(tiny, tmp_path_factory):
    """A file of the network that takes a trimap."""
    model = mj.create_model("tiny_trimap")
    variables = model.init(jax.random.key(0), **example_inputs(model))
    path = tmp_path_factory.mktemp("trimap") / "weights.safetensors"
    write_weights(path, mj.to_state_dict("tiny_trimap", variables), Identity("tiny_trimap"))
    return path


def test_source_of_trimaps_is_loaded_too(finished, trimap_weights, monkeypatch, strict):
    maker = replace(NETWORKS["tiny"], trimap=NETWORKS["modnet"].trimap)
    monkeypatch.setitem(NETWORKS, "tiny", maker)
    matter = mj.load(trimap_weights, trimap_from=finished[0])
    first = matter.trimap_from
    assert first.name == "tiny" and first.options["reference_size"] == 32
    assert matter.needs == [] and mj.load(trimap_weights).needs == ["trimap"]
    assert mj.load(trimap_weights, trimap_from=first).trimap_from is first


def test_config_that_differs_from_that_of_the_weights_is_said(finished, caplog, strict):
    workdir, *_ = finished
    config = read_config(workdir)
    config.test_time.reference_size = 64
    assert load_matter(config, workdir).options["reference_size"] == 64
    found = f"the config differs from that of {workdir}: reference_size is 64, theirs 32"
    assert found in caplog.text
