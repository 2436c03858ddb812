"""Every task's training step can be traced in the form of accelerators.

Samples are then mapped by `jax.vmap`, on CPU by `lax.map`; nothing is compiled.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from matting_jax import parallel
from matting_jax.config import load_config
from matting_jax.data.crops import sides
from matting_jax.data.sources import Composites, Labelled, Unlabelled
from matting_jax.data.training import second_probability
from matting_jax.models import network_of
from matting_jax.tasks import find_task
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, training_model, variable_shapes
from matting_jax.training.step import train_step
from tests.helpers import CONFIGS

RECIPES = (
    "bgmv2:sample",
    "bisenet_v2:sample",
    "dim:sample",
    "gca:sample",
    "gfm:sample",
    "modnet:sample",
    "modnet:paddle",
    "pp_matting:human",
    "soc:modnet",
)
SLOW = ("bgmv2:sample", "pp_matting:human")


def small(recipe):
    """Returns a recipe with small crops and every augmentation that is off by default."""
    name, _, variant = recipe.partition(":")
    config = load_config(CONFIGS / f"{name}.py", variant)
    config.batch_size = 4
    config.data.crop.size = 64
    config.data.crop.width = min(config.data.crop.width, 64)
    if "rssn" in config.get("synthesis", {}):
        config.synthesis.rssn.update(sharpness=0.5, noise=0.5, denoise=0.5)
    return config


def channels(config, task):
    """Returns the names of a sample's arrays, with their channels."""
    if task.unlabelled:
        return Unlabelled.channels
    if task.labelled(config):
        return Labelled.channels
    source = Composites([], [], "", second_probability(config), planes=task.planes(config))
    return replace(source, denoised=source if task.denoised(config) else None).channels


def shapes_of_batch(config, task):
    """Returns the shapes of a batch of four samples."""
    size = sides(config.data.crop)
    batch = {
        name: jax.ShapeDtypeStruct((4, *size, count), jnp.uint8)
        for name, count in channels(config, task).items()
    }
    return {**batch, "index": jax.ShapeDtypeStruct((4,), jnp.int32)}


@pytest.fixture(autouse=True)
def accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.mark.parametrize("recipe", RECIPES)
def test_synthesis_returns_every_sample_at_the_size_of_its_view(recipe):
    config = small(recipe)
    task = find_task(config.task.name)
    view = task.stage(training_model(config), config, config.steps)[1:]

    def synthesize(batch):
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(0), index))(batch["index"])
        inputs, truth = task.synthesize(keys, batch, config, *view)
        return inputs["image"], truth

    mesh = parallel.device_mesh(config.batch_size)
    mapped = jax.shard_map(synthesize, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"))
    image, truth = jax.eval_shape(mapped, shapes_of_batch(config, task))
    assert image.shape == (4, *(view[0] if view else sides(config.data.crop)), 3)
    assert all(x.shape[:3] == image.shape[:3] for x in truth.values())


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(x, marks=pytest.mark.slow if x in SLOW else ()) for x in RECIPES],
)
def test_step_keeps_shapes_and_types_of_the_state(recipe):
    config = small(recipe)
    task, model = find_task(config.task.name), training_model(config)
    shapes = variable_shapes(model, *sides(config.data.crop))
    modules = [*shapes["params"], *network_of(model).optional_modules]
    optimizer = create_optimizer(config, modules)
    state = jax.eval_shape(lambda x: initial_state(config, x, optimizer, task), shapes)
    stage = task.stage(model, config, config.steps)
    step = train_step(config, stage[0], task, optimizer, 10, *stage[1:])
    mesh = parallel.device_mesh(config.batch_size)
    batch = shapes_of_batch(config, task)
    after, terms = jax.eval_shape(parallel.pmap(step, mesh), state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    assert {x.shape for x in terms.values()} == {()}
