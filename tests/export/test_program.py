"""--mode export: what is written, what is refused, and what is left of a failure."""

import hashlib

import numpy as np
import pytest
from jax import export as jax_export

from matting_jax.commandline import main
from matting_jax.convert.identity import Identity
from matting_jax.export import stablehlo
from matting_jax.export.check import compare, sample_inputs
from matting_jax.export.graph import parse_size
from matting_jax.export.record import OWN_LICENCE, licence_of
from tests.export.networks import as_inputs, images, small_matter, write


@pytest.mark.parametrize("name", ["tiny", "tiny_trimap", "tiny_background"])
def test_network_computes_the_same_in_a_file(name, tmp_path):
    matter, path = small_matter(name), tmp_path / "network.stablehlo"
    record = write(matter, path, size="64x96")
    inputs = as_inputs(images(matter, 64, 96))
    exported = jax_export.deserialize(bytearray(path.read_bytes()))
    outputs = exported.call(**inputs)
    for head in outputs:
        expected = matter.apply(head, **inputs)
        assert expected.std() > 1e-3
        np.testing.assert_allclose(outputs[head], expected, atol=1e-6)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["network"] == name and record["platforms"] == ["cpu"]
    assert {x: y["shape"] for x, y in record["inputs"].items()} == {
        x: list(y.shape) for x, y in inputs.items()
    }
    assert record["outputs"].keys() == outputs.keys() == set(record["outputs"])


@pytest.mark.parametrize("name", ["tiny", "tiny_trimap", "tiny_background"])
def test_rule_in_a_file_gives_the_alpha_of_a_matter(name, tmp_path):
    matter, path = small_matter(name), tmp_path / "rule.stablehlo"
    write(matter, path, size="50x70", rule=True)
    given = images(matter, 50, 70)
    outputs = stablehlo.open_file(path)(as_inputs(given))
    alpha = matter(**given)
    assert alpha.std() > 1e-3
    np.testing.assert_allclose(outputs["alpha"][0, ..., 0], alpha, atol=1e-6)
    if "trimap" in given:
        known = given["trimap"] != 0.5
        np.testing.assert_array_equal(outputs["alpha"][0, ..., 0][known], given["trimap"][known])
    if "background" in given:
        _, foreground = matter.cut_out(**given)
        np.testing.assert_allclose(outputs["foreground"][0], foreground, atol=1e-6)


def test_nothing_is_left_of_a_file_that_computes_something_else(tmp_path, monkeypatch):
    open_file = stablehlo.open_file

    def open_wrong(path):
        run = open_file(path)
        return lambda inputs: {name: x + 0.01 for name, x in run(inputs).items()}

    monkeypatch.setattr(stablehlo, "open_file", open_wrong)
    with pytest.raises(RuntimeError, match="another alpha than JAX: it differs by 1.0e-02"):
        write(small_matter("tiny_background"), tmp_path / "x.stablehlo", size="32x32")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_kept_unless_asked(tmp_path):
    path, matter = tmp_path / "x.stablehlo", small_matter("tiny_background")
    for taken in (path, tmp_path / "x.stablehlo.json"):
        taken.write_text("mine")
        with pytest.raises(FileExistsError, match="--overwrite"):
            write(matter, path, size="32x32")
        assert taken.read_text() == "mine"
    write(matter, path, size="32x32", overwrite=True)
    assert jax_export.deserialize(bytearray(path.read_bytes())).platforms == ("cpu",)


def test_folder_that_is_no_export_is_never_replaced(tmp_path):
    folder = tmp_path / "photos.stablehlo"
    folder.mkdir()
    (folder / "me.jpg").write_text("mine")
    for output, message in (
        (f"{folder}/", "holds me.jpg, which no export wrote"),
        (str(folder), "it is a folder"),
        (f"{folder}/me.jpg/x.stablehlo", "me.jpg is a file, not a folder"),
    ):
        with pytest.raises(OSError, match=message):
            write(small_matter("tiny"), output, size="32x32", overwrite=True)
    assert list(tmp_path.rglob("*")) == [folder, folder / "me.jpg"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.onnx", {"platform": "cuda"}, "omit --platform"),
        ("x.stablehlo", {"platform": "gpu"}, "did you mean 'cuda'"),
        ("x.onx", {}, "extension of --output"),
        ("x.stablehlo", {"size": "512"}, "HEIGHTxWIDTH"),
        ("x.stablehlo", {"size": "0x512"}, "HEIGHTxWIDTH"),
        ("x.stablehlo", {"size": "any", "rule": True}, "--rule needs the size"),
        ("x.onnx", {"size": "any"}, ".onnx has one size: .* or write a .stablehlo"),
        ("x.stablehlo", {"size": "100x64"}, "multiples of 32, got 100x64"),
        ("x.stablehlo", {"platform": "gpu"}, "platform"),
        ("x.stablehlo", {"weights": "int8"}, ".stablehlo has weights of float32"),
        ("x.onnx", {"weights": "float8"}, "unknown weights 'float8'"),
    ],
)
def test_wrong_choices_are_refused(name, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(small_matter("tiny"), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_size_is_height_and_width_or_any():
    assert parse_size("1080x1920") == (1080, 1920)
    assert parse_size("any") == (None, None)
    for text in ("any", "32"):
        with pytest.raises(ValueError, match=f"as 512x512, got '{text}'"):
            parse_size(text, any_size=False)


def test_file_for_an_accelerator_also_runs_on_cpu(tmp_path):
    matter, path = small_matter("tiny"), tmp_path / "x.stablehlo"
    assert write(matter, path, size="32x32", platform="cuda")["platforms"] == ["cuda", "cpu"]
    inputs = as_inputs(images(matter, 32, 32))
    alpha = stablehlo.open_file(path)(inputs)["alpha"]
    np.testing.assert_allclose(alpha, matter.apply("alpha", **inputs), atol=1e-5)


def test_differences_are_relative_for_large_outputs_and_infinite_for_nan():
    expected = {"logits": np.array([0.0, -20.0])}
    assert compare({"logits": np.array([1.0, -20.0])}, expected)["logits"].largest == 0.05
    assert compare({"logits": np.array([np.nan, 0])}, expected)["logits"].quantile == np.inf
    with pytest.raises(ValueError, match="outputs"):
        compare({"logits": np.zeros(3)}, expected)


def test_samples_are_images_and_trimaps_with_all_three_values():
    shapes = {"image": (1, 40, 60, 3), "trimap": (1, 40, 60, 1)}
    inputs = sample_inputs(shapes)
    assert {name: x.shape for name, x in inputs.items()} == shapes
    assert set(np.unique(inputs["trimap"])) == {0, 0.5, 1}
    assert 0 <= inputs["image"].min() < 0.3 and 0.7 < inputs["image"].max() <= 1


def test_licence_is_that_of_the_published_file():
    published = "for noncommercial purposes only, by the agreement of Adobe's data"
    assert licence_of(Identity("gca", origin={"file": "gca-dist.pth"})) == published
    assert licence_of(Identity("gca", origin={"name": "gca:all_data"})) == published
    assert licence_of(Identity("gca", origin={"run": "mine"})) == OWN_LICENCE


def test_command_exports_a_run(finished, tmp_path, capsys):
    workdir, *_ = finished
    path = tmp_path / "run.stablehlo"
    command = ["launch.py", "--mode=export", f"--workdir={workdir}", f"--output={path}"]
    assert main([*command, "--size=64x64"], "") == 0
    printed = capsys.readouterr().out
    assert "difference from JAX at most" in printed and str(path) in printed
    assert main([*command, "--size=64x64"], "") == 2
