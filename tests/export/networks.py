"""Networks for the tests of export: small ones, and each network with random weights."""

import functools
import json
from pathlib import Path

import jax
import numpy as np

import matting_jax as mj
from matting_jax.convert.identity import Identity, side_car
from matting_jax.export.formats import Options, find_format
from matting_jax.export.graph import build_graph
from matting_jax.export.program import export
from matting_jax.export.record import make_record
from matting_jax.models import create_model, example_inputs
from tests.goldens import bgmv2, synth
from tests.helpers import GOLDENS

MOBILE = {"backbone": "mobilenet_v2"}
NETWORKS = {
    "modnet": ("modnet", {}, "modnet"),
    "dim": ("dim", {}, "dim"),
    "gca": ("gca", {}, "gca"),
    "pp_matting": ("pp_matting", {"backbone": "hrnet_w18"}, "pp_matting_w18"),
    "gfm": ("gfm", {}, "gfm_r34"),
    "bgmv2 full": ("bgmv2", MOBILE | {"refine_mode": "full"}, None),
    "bgmv2": ("bgmv2", MOBILE | {"sample_pixels": 256}, None),
    "bgmv2 base": ("bgmv2", MOBILE | {"refine": False}, None),
    "bisenet_v2": ("bisenet_v2", {}, "bisenet_v2"),
}


@functools.cache
def small_matter(name):
    """A tiny network with its initial variables, as a Matter."""
    model = create_model(name)
    variables = jax.jit(model.init)(jax.random.key(0), **example_inputs(model))
    # A larger last layer, so that alpha is not 0.5 everywhere.
    variables = jax.tree.map(lambda x: x * 1.5, variables)
    options = {"reference_size": 32} if name == "tiny" else {}
    return mj.Matter(name, jax.device_get(variables), test_time=options)


def published_matter(case, **options):
    """A network with random weights in the layout of the published file, as a Matter."""
    name, keywords, golden = NETWORKS[case]
    if golden:
        manifest = str(GOLDENS / f"{golden}.json")
    else:
        manifest = bgmv2.manifest(**MOBILE, refine=keywords.get("refine", True))
    state_dict = synth.state_dict(manifest, 1)
    variables = mj.from_state_dict(name, state_dict, **keywords)
    return mj.Matter(name, variables, test_time=options, **keywords)


def write(matter, path, **options):
    """Exports a Matter; returns the record beside the file, if there is one."""
    export(matter.model, matter.variables, matter.options, "weights.pth", path, Options(**options))
    record = side_car(Path(path))
    return json.loads(record.read_text()) if record.exists() else None


def write_only(matter, path, size, rule=False):
    """Writes the file of a Matter for one size, without the check that compares it with JAX."""
    found = find_format(str(path), Options())
    graph = build_graph(
        matter.model, matter.variables, matter.options, size=size, rule=rule, form=found.form
    )
    found.write(graph, path, make_record(graph, Identity(matter.name), rule=rule))


def images(matter, height, width, seed=0):
    """Returns a photo, and a trimap or background, as `Matter` takes them, [H, W, C] and [H, W]."""
    found = {"photo": synth.image(height, width, 3, 1, seed)[0]}
    if "background" in matter.takes:
        found["background"] = synth.image(height, width, 3, 1, seed + 1)[0]
    if "trimap" in matter.takes:
        grey = synth.image(height, width, 1, 1, seed + 2)[0, ..., 0]
        found["trimap"] = np.select([grey < 0.4, grey > 0.6], [0, 1], 0.5).astype(np.float32)
    return found


def as_inputs(given):
    """Returns what `images` returns as inputs of a file: [1, H, W, C] by name."""
    named = {"image" if name == "photo" else name: x for name, x in given.items()}
    return {name: x.reshape(1, *x.shape[:2], -1) for name, x in named.items()}


def assert_close(output, expected):
    """Asserts that 99.9 % of the values differ by less than 5e-4 of the largest, none by 1e-2.

    The random weights of these small networks amplify rounding: GFM's alpha in float32, by JAX or
    from a file, is up to 1.5e-4 away from the one in float64. Where a network decides on a class,
    a few pixels can change by more.
    """
    error = np.abs(output - expected) / max(1, np.abs(expected).max())
    assert np.quantile(error, 0.999) < 5e-4 and error.max() < 1e-2
