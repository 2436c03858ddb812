"""--mode benchmark: figures that follow from one another, and from the network."""

import json

import jax
import pytest

from matting_jax.benchmark.network import Options, benchmark, draw_inputs, draw_photo, make_matter
from matting_jax.commandline import main
from matting_jax.models.cost import forward_cost
from matting_jax.prediction.matter import Matter
from tests.tiny import tiny_config

QUICK = Options(size="64x128", seconds=0.05)


def test_figures_of_a_config_follow_from_one_another(tmp_path, capsys):
    config = tiny_config()
    config.test_time.reference_size = 32
    report = benchmark(config, str(tmp_path / "b.json"), QUICK)
    assert report == json.loads((tmp_path / "b.json").read_text())
    network, photo = report["rows"]
    assert (network["program"], photo["program"]) == ("32x64", "photo")
    assert network["per_second"] == pytest.approx(1e3 / network["image_milliseconds"])
    model = make_matter(config)
    inputs = {"image": jax.ShapeDtypeStruct((1, 32, 64, 3), "float32")}
    # Of the heads only alpha is computed, and the network has few others.
    whole = forward_cost(model.model, model.variables, inputs) / 1e9
    assert 0.5 * whole < network["giga_multiply_adds"] <= whole
    teraflops = 2 * network["giga_multiply_adds"] / network["milliseconds"]
    assert network["share_of_peak"] * report["peak_teraflops"] == pytest.approx(teraflops, rel=0.1)
    assert 0 < network["share_of_peak"] < 1
    lines = capsys.readouterr().out.splitlines()
    assert "device: " in "\n".join(lines) and lines[-2].split()[0] == "32x64"


def test_batch_counts_for_each_image():
    config = tiny_config()
    config.test_time.reference_size = 32
    one, four = (
        benchmark(config, None, Options(size="32x32", batch=x, seconds=0.05))["rows"][0]
        for x in (1, 4)
    )
    assert four["giga_multiply_adds"] == one["giga_multiply_adds"]
    assert four["image_milliseconds"] == pytest.approx(four["milliseconds"] / 4)
    assert four["peak_mib"] > one["peak_mib"]


@pytest.mark.parametrize("name", ["gca", "bgmv2", "modnet"])
def test_networks_get_the_inputs_that_they_take(name):
    matter = Matter(name, {"params": {}})
    inputs = draw_inputs(matter, (64, 96))
    assert matter.checked(draw_photo((64, 96)), **inputs).keys() == {
        "image",
        *matter.takes,
    }
    if name == "gca":
        assert {*inputs["trimap"].ravel()} == {0, 128, 255}


def test_wrong_sizes_and_existing_files_are_refused(tmp_path, capsys):
    (tmp_path / "b.json").write_text("mine")
    start = ["launch.py", "--mode=benchmark", "--config=modnet"]
    for more, words in (
        (["--size=any"], "--size must be HEIGHTxWIDTH"),
        (["--batch=-1"], "--batch must be at least 0, got -1"),
        ([f"--output={tmp_path / 'b.json'}"], "pass --overwrite to replace it"),
        (["--checkpoint=x.pth"], "--checkpoint is for --mode"),
    ):
        assert main([*start, *more], "") == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "b.json").read_text() == "mine"
