"""StableHLO files of each network."""

import jax
import numpy as np
import pytest

from matting_jax.export import stablehlo
from matting_jax.export.graph import build_graph
from matting_jax.models import create_model, example_inputs
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


@pytest.mark.slow
@pytest.mark.parametrize("case", [x for x in NETWORKS if x not in ("bgmv2 full", "bgmv2 base")])
def test_network_computes_the_same_in_a_file(case, tmp_path):
    matter, path = published_matter(case), tmp_path / "network.stablehlo"
    write_only(matter, path, (64, 64))
    inputs = as_inputs(images(matter, 64, 64))
    for head, output in stablehlo.open_file(path)(inputs).items():
        expected = matter.apply(head, **inputs)
        assert_close(output, expected)


def test_one_file_takes_inputs_of_any_size(tmp_path):
    matter, path = small_matter("tiny"), tmp_path / "any.stablehlo"
    record = write(matter, path, size="any")
    assert record["inputs"]["image"]["shape"][1] == "height, a multiple of 32"
    run = stablehlo.open_file(path)
    for size in ((32, 96), (64, 32)):
        inputs = as_inputs(images(matter, *size))
        expected = matter.apply("alpha", **inputs)
        np.testing.assert_allclose(run(inputs)["alpha"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "is_possible"), [("modnet", True), ("bisenet_v2", True), ("bgmv2", False)]
)
def test_only_networks_without_patches_export_for_any_size(case, is_possible, tmp_path):
    name, keywords, _ = NETWORKS[case]
    model, path = create_model(name, **keywords), tmp_path / "any.stablehlo"
    shapes = jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
    variables = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    graph = build_graph(model, variables, {}, size=(None, None), rule=False, form="cpu")
    if is_possible:
        stablehlo.write(graph, path, {}, platforms=("cpu",))
        assert path.exists()
        return
    with pytest.raises(ValueError, match="any size: pass --size HEIGHTxWIDTH"):
        stablehlo.write(graph, path, {}, platforms=("cpu",))
