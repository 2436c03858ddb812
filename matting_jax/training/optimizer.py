"""Optimizers and learning-rate schedules of the papers, from a config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from matting_jax.choices import one_of

# Decay of the moving mean of gradient norms.
NORM_DECAY = 0.999


def learning_rate(config: Any) -> optax.Schedule:
    """Returns the learning rate at each step, as `config.optimizer.schedule` describes it.

    Schedules are "constant", "step" (times `step_factor` every `step_every` steps), "poly"
    ((1 - step / steps)^power) and "cosine" (to zero at the end). `warmup_steps` come first and are
    part of `config.steps`. Warm-up is linear from zero, or exponential from the fraction
    `warmup_from` of the rate if that is above 0. With `first_step` 1 everything happens one step
    earlier: the first step has the rate of the second, and the last step that of the end.
    """
    options = config.optimizer.schedule
    peak, warmup = config.optimizer.learning_rate, options.warmup_steps
    rest = config.steps - warmup
    if rest <= 0:
        raise ValueError(
            f"config.optimizer.schedule.warmup_steps ({warmup}) must be fewer than config.steps "
            f"({config.steps}): lower it as well"
        )
    if options.name == "step" and options.step_every < 1:
        raise ValueError(f"schedule.step_every must be at least 1, got {options.step_every}")
    schedules = {
        "constant": lambda: optax.constant_schedule(peak),
        "step": lambda: optax.exponential_decay(
            peak, options.step_every, options.step_factor, staircase=True
        ),
        "poly": lambda: optax.polynomial_schedule(peak, 0.0, options.power, rest),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest),
    }
    schedule = schedules[one_of(options.name, schedules, "schedule")]()
    if warmup:
        fraction = options.warmup_from
        warmup_schedule = (
            optax.exponential_decay(fraction * peak, warmup, 1 / fraction)
            if fraction
            else optax.linear_schedule(0.0, peak, warmup)
        )
        schedule = optax.join_schedules([warmup_schedule, schedule], [warmup])
    return lambda step: schedule(step + options.first_step)


def clip_by_moving_norm(factor: float) -> optax.GradientTransformation:
    """Clips gradients to `factor` times the moving mean of their global norm.

    The mean is that of all earlier steps, of norms before clipping. The first step is clipped to
    1e6. Source: Yaoyi-Li/GCA-Matting, trainer.py.
    """

    def init(params: Any) -> jax.Array:
        return jnp.zeros((), jnp.result_type(*jax.tree.leaves(params)))

    def update(updates: Any, moving: jax.Array, params: Any = None) -> tuple[Any, jax.Array]:
        norm, first = optax.tree.norm(updates), moving == 0
        limit = jnp.where(first, 1e6, factor * moving)
        # A norm of 0 is not clipped, which would give NaN.
        scale = jnp.where(norm > limit, limit / norm, 1.0)
        mean = NORM_DECAY * moving + (1 - NORM_DECAY) * norm
        return optax.tree.scale(scale, updates), jnp.where(first, norm, mean)

    return optax.GradientTransformation(init, update)


def module_rates(rates: dict[str, float], modules: Iterable[str]) -> optax.GradientTransformation:
    """Multiplies updates by a factor for each top-level module of the network; 0 freezes it."""
    modules = list(modules)
    for name in rates:
        one_of(name, modules, "module in optimizer.module_rates")

    def scale(updates: Any, params: Any = None) -> Any:
        factors = {name: rates.get(name, 1.0) for name in updates}
        return {name: optax.tree.scale(factors[name], updates[name]) for name in updates}

    return optax.stateless(scale)


def is_kernel(params: Any) -> Any:
    """Returns True for the kernels of `params`, False for biases and scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def create_optimizer(config: Any, modules: Iterable[str]) -> optax.GradientTransformation:
    """Returns the optimizer of `config.optimizer` for a network with these top-level modules.

    Gradients are first clipped to the global norm `clip_norm`, and to `clip_moving` times the
    moving mean of that norm, if these are above 0. `weight_decay` times the parameters (`decay`:
    "all" or only "kernels") is then added to the gradients for sgd and adam, as in PyTorch and
    Paddle, and to the updates for adamw (Loshchilov & Hutter 2019). `module_rates` multiply the
    learning rate, and therefore the decay too.
    """
    options, rate = config.optimizer, learning_rate(config)
    mask = {"all": None, "kernels": is_kernel}[
        one_of(options.decay, ("all", "kernels"), "optimizer.decay")
    ]
    b1, b2, eps, decay = options.b1, options.b2, options.eps, options.weight_decay
    optimizers = {
        "sgd": lambda: optax.sgd(rate, options.momentum or None),
        "adam": lambda: optax.adam(rate, b1, b2, eps),
        "adamw": lambda: optax.adamw(rate, b1, b2, eps, weight_decay=decay, mask=mask),
    }
    steps = [optimizers[one_of(options.name, optimizers, "optimizer")]()]
    if decay and options.name != "adamw":
        steps.insert(0, optax.add_decayed_weights(decay, mask))
    if options.clip_norm:
        steps.insert(0, optax.clip_by_global_norm(options.clip_norm))
    if options.clip_moving:
        steps.insert(0, clip_by_moving_norm(options.clip_moving))
    return optax.chain(*steps, module_rates(dict(options.module_rates), modules))
