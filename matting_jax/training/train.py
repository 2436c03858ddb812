"""Training: from a config to a workdir with checkpoints, curves and previews."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from matting_jax import parallel, peers
from matting_jax.convert.tables import describe
from matting_jax.data import train_batches
from matting_jax.data.crops import sides
from matting_jax.data.evaluation import names_test_data
from matting_jax.evaluation import previews
from matting_jax.evaluation.alphas import score_alphas
from matting_jax.models import network_of
from matting_jax.models.layers.dtypes import compute_dtype
from matting_jax.prediction.matter import Matter
from matting_jax.stopping import Stopped, stop_signal
from matting_jax.tasks import check_config, find_task
from matting_jax.tasks.task import Task
from matting_jax.training import console
from matting_jax.training.data import prepare_data
from matting_jax.training.not_finite import FiniteCheck
from matting_jax.training.optimizer import create_optimizer, learning_rate
from matting_jax.training.profile import check_profile_steps, profile_steps
from matting_jax.training.state import (
    State,
    initial_state,
    initial_variables,
    training_model,
    variable_shapes,
    variables_of,
)
from matting_jax.training.step import check_micro_batches, check_pooled_norm, train_step
from matting_jax.workdir import checkpoint, checksums
from matting_jax.workdir.claim import claim_alone
from matting_jax.workdir.writer import Writer


def train(config: ConfigDict, workdir: Path) -> State:
    """Trains the network of `config` in `workdir`, resuming an earlier run of it.

    Returns the last state. Raises ValueError if data, config or workdir do not fit,
    FloatingPointError if a loss is not finite, Stopped after a signal, once everything is saved.
    """
    with ExitStack() as lock:
        return train_claimed(config, workdir, lock)


def train_claimed(config: ConfigDict, workdir: Path, lock: ExitStack) -> State:
    """Trains as `train` does; `lock` keeps other programs out of `workdir` until it is closed."""
    # Set up: the config is checked before the data are prepared, both before the folder is claimed.
    check_config(config)
    check_profile_steps(config.profile_steps, config.steps)
    mesh = parallel.device_mesh(config.batch_size)
    check_micro_batches(config.batch_size, mesh.size, config.accumulate)
    task = find_task(config.task.name)
    task.check(config)
    model = training_model(config)
    check_pooled_norm(config, model, mesh)
    shapes = variable_shapes(model, *sides(config.data.crop))
    modules = [*shapes["params"], *network_of(model).optional_modules]
    optimizer = create_optimizer(config, modules)
    source, images = prepare_data(config, task)
    if jax.process_index() == 0:
        lock.enter_context(claim_alone(workdir, config))
    checkpoints = checkpoint.open_checkpoints(workdir, task.score)

    trained = {checksums.LAYOUT: checksums.layout(shapes), checksums.NETWORK: describe(model)}

    # Resume, or start. A resumed run does not need its initial checkpoint.
    start = partial(initial_state, config, optimizer=optimizer, task=task)
    state_shapes = parallel.replicated_shapes(jax.eval_shape(start, shapes), mesh)
    state = checkpoint.restore(checkpoints, state_shapes)
    resumed = state is not None
    variables = variables_of(state) if resumed else initial_variables(config, model)
    first_step = int(state["step"]) if resumed else 0
    if first_step >= config.steps:
        console.print_finished(workdir, first_step)
        return state
    scored = len(images) if names_test_data(config) else 0
    console.print_start(config, model, shapes, mesh, source, scored, workdir, first_step)
    writer = None
    if jax.process_index() == 0:
        writer = Writer(workdir, first_step if resumed else -1, config.logging.wandb)
    matter = Matter(
        config.name,
        variables,
        test_time=config.test_time,
        dtype=compute_dtype(config.compute_dtype),
        **config.model,
    )
    if writer and not resumed:
        evaluate_first(writer, task, matter, images, config)

    bar = console.progress(first_step, config.steps)
    interval, finite = console.LogInterval(bar), FiniteCheck(workdir, checkpoints)

    programs = {}

    def program(step: int, batch: Any) -> Callable:
        """Returns the compiled step of this number, for batches like this one."""
        network, *view = stage = task.stage(model, config, step)
        if stage not in programs:
            what = " ".join(["the training step", *(f"at {h} x {w}" for h, w in view)])
            function = train_step(config, network, task, optimizer, len(source), *view)
            with console.announced_compilation(what, interval):
                mapped = parallel.pmap(function, mesh)
                programs[stage] = parallel.compile_for(mapped, state_shapes, batch)
        return programs[stage]

    rate = learning_rate(config)
    batches = train_batches(
        source, config, first_step, config.steps, jax.process_index(), jax.process_count()
    )
    # After SIGTERM all processes of a job stop after the same step.
    job = None
    if peers.current:
        job = peers.current.common_step.reached
    elif jax.distributed.is_initialized():
        job = checkpoints.reached_preemption
    with (
        stop_signal(job) as asked_to_stop,
        checkpoint.finish_saves(checkpoints),
        profile_steps(config.profile_steps, workdir / "profile") as profile,
    ):
        # The step is compiled before the optimizer has a state, because both take memory.
        first = interval.next_batch(batches)
        batches = chain([first], batches)
        program(first_step + 1, parallel.split(first, mesh))
        if not resumed:
            with interval.paused():
                state = parallel.replicate(start(variables), mesh)
                matter.set_variables(variables_of(state))
        del first, variables

        for step in bar:
            # Step.
            profile(step, state)
            batch = interval.next_batch(batches)
            placed = parallel.split(batch, mesh)
            state, terms = program(step, placed)(state, placed)
            finite.add(step, batch, terms)

            # Log.
            if config.log_every:
                interval.add(terms)
            if is_due(step, config.log_every, config):
                finite.check()
                values = interval.finish(config.batch_size)
                values["learning_rate"] = float(rate(step - 1))  # the first step is number 0
                console.say(bar, console.describe(step, values))
                if writer:
                    writer.scalars(step, values)

            # Evaluate.
            scores = None
            if is_due(step, config.evaluate_every, config):
                finite.check()
                with interval.paused():
                    matter.set_variables(variables_of(state))
                    scores = evaluate_and_log(writer, step, task, matter, images, config)
                    if writer and scores:
                        texts = (f"{name.upper()} {value:.4f}" for name, value in scores.items())
                        console.say(bar, f"step {step}: {', '.join(texts)}")

            # Save.
            stop = asked_to_stop(step)
            if scores or stop or is_due(step, config.save_every, config) or step == config.steps:
                finite.check()
                checkpoint.save(checkpoints, step, state, scores or None, trained)
            if stop:
                break
    if writer:
        writer.close()
    if step < config.steps:
        raise Stopped(stop, f"saved at step {step} of {config.steps}; the same command resumes it")
    console.print_end(workdir, matter.needs, task.result(config), names_test_data(config))
    return state


def is_due(step: int, every: int, config: ConfigDict) -> bool:
    """Returns whether something done every so many steps, and after the last, is due; 0: never."""
    return every > 0 and (step % every == 0 or step == config.steps)


def evaluate_first(
    writer: Writer, task: Task, matter: Matter, images: Any, config: ConfigDict
) -> None:
    """Logs the network before its first step, as config.evaluate_first says.

    Args:
        writer: logs of the run.
        task: task of the run.
        matter: network with the initial weights.
        images: test images.
        config: config of the run.
    """
    if config.evaluate_first == "all":
        evaluate_and_log(writer, 0, task, matter, images, config)
    elif config.evaluate_first == "previews" and config.preview_images:
        shown = [images[i] for i in range(min(config.preview_images, len(images)))]
        # Each size of photo would be compiled.
        alike = [image for image in shown if image.image.shape == shown[0].image.shape]
        _, pictures = (task.evaluate or score_alphas)(matter, alike, config, len(alike))
        writer.preview(0, previews.draw_grid(pictures))


def evaluate_and_log(
    writer: Writer | None, step: int, task: Task, matter: Matter, images: Any, config: ConfigDict
) -> dict[str, float]:
    """Scores the network on the test data, and logs the scores with a preview.

    Args:
        writer: logs of the run; None in all processes but the first.
        step: number of the step.
        task: task of the run, which may have its own scores.
        matter: network with the weights of this step.
        images: test images; the preview shows the first of them.
        config: config of the run.

    Returns:
        Scores by name, empty if the images have no truth.
    """
    evaluate = task.evaluate or score_alphas
    # All processes show as many, though only the first draws: the network then is the same program.
    scores, pictures = evaluate(matter, images, config, config.preview_images)
    if writer and scores:
        writer.scalars(step, {f"test_{name}": value for name, value in scores.items()})
    if writer and pictures:
        writer.preview(step, previews.draw_grid(pictures))
    return scores
