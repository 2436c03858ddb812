"""SavedModel folders and TensorFlow Lite files."""

import json

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from matting_jax.convert.identity import side_car
from matting_jax.export import savedmodel, tflite
from tests.export.networks import (
    NETWORKS,
    as_inputs,
    assert_close,
    images,
    published_matter,
    small_matter,
    write,
    write_only,
)

ROOMS = {"network.tflite": tflite, "savedmodel/": savedmodel}


@pytest.mark.parametrize("name", ROOMS)
def test_rule_in_a_file_gives_the_alpha_of_a_matter(name, tmp_path):
    matter, path = small_matter("tiny_trimap"), tmp_path / name
    write(matter, f"{tmp_path}/{name}", size="50x70", rule=True)
    given = images(matter, 50, 70)
    alpha = matter(**given)
    found = ROOMS[name].open_file(path)(as_inputs(given))
    np.testing.assert_allclose(found["alpha"][0, ..., 0], alpha, atol=1e-5)
    assert json.loads(side_car(path).read_text())["inputs"].keys() == {"image", "trimap"}


@pytest.mark.slow
@pytest.mark.parametrize("case", [x for x in NETWORKS if x not in ("bgmv2", "bgmv2 base")])
def test_network_computes_the_same_in_a_file_of_tensorflow_lite(case, tmp_path):
    matter, path = published_matter(case), tmp_path / "network.tflite"
    write_only(matter, path, (64, 64))
    inputs = as_inputs(images(matter, 64, 64))
    for head, output in tflite.open_file(path)(inputs).items():
        expected = matter.apply(head, **inputs)
        assert_close(output, expected)


@pytest.mark.slow
def test_positions_that_depend_on_the_image_are_refused(tmp_path):
    with pytest.raises(ValueError, match="TensorFlow Lite has no form.*write an .onnx file"):
        write(published_matter("bgmv2"), tmp_path / "network.tflite", size="64x64")
    assert list(tmp_path.iterdir()) == []
