"""Training: from a config to a workdir with checkpoints, curves and previews."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from ml_collections import ConfigDict

from matting_jax import parallel
from matting_jax.choices import one_of
from matting_jax.convert import load_backbone, load_checkpoint
from matting_jax.data import shown_images, train_batches, train_source
from matting_jax.data.crops import sides
from matting_jax.data.evaluation import names_test_data
from matting_jax.evaluation import previews
from matting_jax.evaluation.evaluate import beside, predictions
from matting_jax.evaluation.scores import mean_scores, score
from matting_jax.models import create_model, example_inputs, find_network
from matting_jax.prediction.inputs import as_float_trimap
from matting_jax.prediction.matter import Matter
from matting_jax.tasks import find_task
from matting_jax.tasks.task import Task
from matting_jax.training import console
from matting_jax.training.accumulate import check_parts, in_parts
from matting_jax.training.not_finite import LastStep
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.stopping import Stopped, listening
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim
from matting_jax.workdir.writer import Writer

State = dict[str, Any]
# What a state holds beside the statistics of the network.
KEPT = ("step", "params", "opt_state", "ema", "memory")
# For what runs once: XLA takes three times as long to optimise hundreds of random draws.
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def train(config: ConfigDict, workdir: Path) -> State:
    """Train as `config` says, in `workdir`; goes on where an earlier run of it stopped.

    Returns the last state. Raises ValueError where data, config or workdir do not fit,
    FloatingPointError where a loss is not finite, Stopped after a signal, once all is saved.
    """
    mesh = parallel.device_mesh(config.batch_size)
    check_parts(config.batch_size, mesh.size, config.accumulate)
    task, model = find_task(config.task.name), training_model(config)
    task.check(config)
    denoised, labelled = task.denoised(config), task.labelled(config)
    # One process prepares and caches the data, the others find them.
    source = parallel.first_process_first(
        lambda: train_source(config, denoised=denoised, labelled=labelled)
    )
    images = parallel.first_process_first(lambda: shown_images(config, source, labelled=labelled))
    shapes = variable_shapes(model, *sides(config.data.crop))
    modules = [*shapes["params"], *find_network(config.name).optional_modules]
    optimizer = create_optimizer(config, modules)
    begin = partial(initial_state, config, optimizer=optimizer, task=task)

    if jax.process_index() == 0:
        claim(workdir, config)
    checkpoints = checkpoint.open_checkpoints(workdir)
    # What a run started from need not exist any more when it goes on.
    restored = checkpoint.restore(checkpoints, parallel.placed(jax.eval_shape(begin, shapes), mesh))
    state = restored or parallel.replicate(begin(initial_variables(config, model)), mesh)
    first_step = int(state["step"])
    if first_step >= config.steps:
        console.print_finished(workdir, first_step)
        return state
    scored = len(images) if names_test_data(config) else 0
    console.print_start(config, model, mesh, source, scored, workdir, first_step)

    @cache
    def program(model: nn.Module, *view: tuple[int, int]) -> Callable:
        """The step that trains `model`: of each size it is compiled once."""
        step = train_step(config, model, task, optimizer, len(source), *view)
        return parallel.pmap(step, mesh)

    writer = Writer(workdir, first_step if restored else -1) if jax.process_index() == 0 else None
    matter = Matter(config.name, variables_of(state), test_time=config.test_time, **config.model)
    if writer and restored is None:
        report(writer, 0, matter, images, config)

    batches = train_batches(
        source, config, first_step, config.steps, jax.process_index(), jax.process_count()
    )
    stretch, last = Stretch(), LastStep(workdir, checkpoints)
    # JAX watches for SIGTERM in a job that it joined, and has all processes stop after one step.
    job = checkpoints.reached_preemption if jax.distributed.is_initialized() else None
    with listening(job) as asked:
        for done in (bar := console.progress(first_step, config.steps)):
            batch = stretch.wait_for(batches)
            stage = task.stage(model, config, done)
            state, terms = program(*stage)(state, parallel.split(batch, mesh))
            if config.log_every:
                stretch.add(terms)
            last.follow(done, batch, terms)
            if is_due(done, config.log_every, config):
                last.look()
                values = stretch.finish(config.batch_size)
                waited = f"waited {values['data_wait']:.1%} for data"
                console.say(bar, f"step {done}: loss {values['loss']:.4f}, {waited}")
                if writer:
                    writer.scalars(done, values)
                stretch = Stretch()
            scores = None
            if is_due(done, config.evaluate_every, config):
                last.look()
                begun = time.perf_counter()
                matter.set_variables(variables_of(state))
                scores = report(writer, done, matter, images, config)
                summary = ", ".join(f"{name.upper()} {value:.4f}" for name, value in scores.items())
                if writer and scores:
                    bar.write(f"step {done}: {summary}")
                stretch.started += time.perf_counter() - begun
            stop = asked(done)
            if scores or stop or is_due(done, config.save_every, config) or done == config.steps:
                last.look()
                checkpoint.save(checkpoints, done, state, scores or None)
            if stop:
                break
        checkpoints.wait_until_finished()
    if writer:
        writer.close()
    if done < config.steps:
        raise Stopped(stop, done, config.steps)
    console.print_end(workdir, matter.needs, config.task.get("labels", ""))
    return state


def training_model(config: ConfigDict) -> nn.Module:
    """The network of `config` as it trains; configs of networks without normalisation say nothing
    of its statistics."""
    dtypes = {"float32": None, "bfloat16": jnp.bfloat16}
    keywords = {"dtype": dtypes[one_of(config.compute_dtype, dtypes, "compute_dtype")]}
    if hasattr(create_model(config.name), "axis_name"):
        keywords["axis_name"] = parallel.AXIS if config.synchronise_statistics else None
        keywords["frozen_statistics"] = config.freeze_statistics
    return create_model(config.name, **config.model, **keywords)


def variable_shapes(model: nn.Module, height: int, width: int) -> Any:
    """Shapes of the network's variables; it raises a ValueError for crops that it cannot take."""
    return jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model, height, width))


def initial_variables(config: ConfigDict, model: nn.Module) -> dict[str, Any]:
    """Weights drawn from the seed, the backbone's or all of them from an official file.

    `init.model` holds the keywords in which the network of `init.checkpoint` differs: what only
    the one that trains has is drawn.
    """
    if config.init.checkpoint and config.init.get("backbone"):
        raise ValueError("give one of init.checkpoint and init.backbone: the first holds both")
    keywords = {**config.model, **config.init.get("model", {})}
    if config.init.checkpoint:
        loaded = load_checkpoint(config.name, config.init.checkpoint, **keywords)
        if keywords == dict(config.model):
            return loaded
    draw = jax.jit(model.init, compiler_options=UNOPTIMISED)
    variables = draw(jax.random.key(config.seed), **example_inputs(model))
    if config.init.checkpoint:
        return traverse_util.unflatten_dict(
            traverse_util.flatten_dict(variables) | traverse_util.flatten_dict(loaded)
        )
    if config.init.get("backbone"):
        return load_backbone(model, config.init.backbone, variables)
    return variables


def initial_state(
    config: ConfigDict,
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    task: Task,
) -> State:
    """The state before the first step."""
    variables = {name: jax.tree.map(jnp.asarray, x) for name, x in variables.items()}
    params = variables["params"]
    return {
        "step": jnp.zeros((), jnp.int32),
        **variables,
        "opt_state": optimizer.init(params),
        "ema": jax.tree.map(jnp.copy, params) if config.ema_decay else {},
        "memory": task.state.remember(variables) if task.state else {},
    }


def train_step(
    config: ConfigDict,
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformation,
    epoch: int,
    *view: tuple[int, int],
):
    """step(state, batch) -> (state, terms) of one device; see `parallel.pmap`.

    `epoch` is the number of training samples; tasks with a memory refresh it by that. `view`: the
    size of the task's `stage`, where it has any.
    """
    seed = jax.random.key(config.seed)
    # Without a gradient what only leads to them costs nothing, and counts in no norm.
    frozen = [name for name, rate in config.optimizer.module_rates.items() if rate == 0]

    def step(state: State, batch: dict[str, jax.Array]) -> tuple[State, dict[str, jax.Array]]:
        memory, statistics = state["memory"], statistics_of(state)
        if task.state:
            now = {"params": state["params"], **statistics}
            memory = task.state.refresh(memory, now, state["step"], epoch, config)

        def gradients(statistics, part):
            keys = jax.vmap(lambda index: jax.random.fold_in(seed, index))(part["index"])
            inputs, truth = task.synthesize(keys, part, config, *view)

            def loss(params):
                params = {
                    name: jax.lax.stop_gradient(x) if name in frozen else x
                    for name, x in params.items()
                }
                variables = {"params": parallel.varying(params), **statistics}
                outputs, updated = task.forward(model, variables, inputs, memory)
                total, terms = task.loss(outputs, inputs, truth, config, parallel.AXIS)
                # The same on all devices already, unless statistics are not synchronised.
                return total, (terms, jax.lax.pmean(updated, parallel.AXIS))

            gradient = jax.value_and_grad(loss, has_aux=True)
            (total, (terms, statistics)), grads = gradient(state["params"])
            return statistics, (grads, {"loss": total, **terms})

        statistics, (grads, terms) = in_parts(gradients, statistics, batch, config.accumulate)
        updates, opt_state = optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        ema = state["ema"]
        if config.ema_decay:
            ema = optax.incremental_update(params, ema, 1 - config.ema_decay)
        new_state = {
            "step": state["step"] + 1,
            "params": params,
            **statistics,
            "opt_state": opt_state,
            "ema": ema,
            "memory": memory,
        }
        return new_state, {**terms, "gradient_norm": optax.tree.norm(grads)}

    return step


def statistics_of(state: State) -> dict[str, Any]:
    """The collections of the network that training updates beside its parameters."""
    return {name: x for name, x in state.items() if name not in KEPT}


def variables_of(state: State) -> dict[str, Any]:
    """What the network is applied with: the moving average of the parameters where one is kept."""
    variables = {"params": state["ema"] or state["params"], **statistics_of(state)}
    return jax.tree.map(lambda x: x.addressable_data(0), variables)


def report(
    writer: Writer | None, step: int, matter: Matter, images: Any, config: ConfigDict
) -> dict[str, float]:
    """Scores of the network on the test data, written with a preview of the first images."""
    evaluate = find_task(config.task.name).evaluate or score_alphas
    scores, pictures = evaluate(matter, images, config, config.preview_images if writer else 0)
    if writer and scores:
        writer.scalars(step, {f"test_{name}": value for name, value in scores.items()})
    if writer and pictures:
        writer.preview(step, previews.grid(pictures))
    return scores


def score_alphas(
    matter: Matter, images: Any, config: ConfigDict, shown: int
) -> tuple[dict[str, float], list[dict[str, np.ndarray]]]:
    """Mean scores of the alphas of `images`, and pictures of the first `shown`.

    Over the unknown region where the network takes a trimap. Images without alpha are shown but
    not scored.
    """
    rows, pictures = [], []
    for image, alpha in predictions(matter, images):
        given, truth = beside(matter, image), None
        if image.alpha is not None:
            truth = image.alpha.astype(np.float32) / 255
            trimap = as_float_trimap(given["trimap"])[..., 0] if "trimap" in given else None
            rows.append(score(image.name, alpha, truth, trimap))
        if len(pictures) < shown:
            heads = matter.heads(image.image, **given)
            pictures.append(previews.row(image.image, given, heads, alpha, truth))
    return mean_scores(rows) if rows else {}, pictures


def is_due(done: int, every: int, config: ConfigDict) -> bool:
    """Whether something done every so many steps, and after the last, is due; 0 is never."""
    return every > 0 and (done % every == 0 or done == config.steps)


class Stretch:
    """The steps between two lines of the log: their terms, and how long they waited for data."""

    def __init__(self):
        self.terms: list[dict[str, jax.Array]] = []
        self.waited = 0.0
        self.started = time.perf_counter()

    def wait_for(self, batches) -> dict[str, np.ndarray]:
        """The next batch."""
        begun = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - begun
        return batch

    def add(self, terms: dict[str, jax.Array]) -> None:
        self.terms.append(terms)

    def finish(self, batch_size: int) -> dict[str, float]:
        """Means of the terms, samples a second, and the share of time that waited for data."""
        terms = jax.device_get(self.terms)
        elapsed = time.perf_counter() - self.started
        means = {name: float(np.mean([t[name] for t in terms])) for name in terms[0]}
        speed = batch_size * len(terms) / elapsed
        return means | {"samples_per_second": speed, "data_wait": self.waited / elapsed}
