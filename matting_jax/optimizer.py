"""Optimizers and learning-rate schedules of the papers, from a config."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import optax

from matting_jax.choices import one_of


def learning_rate(config: Any) -> optax.Schedule:
    """The learning rate at each step, `config.optimizer.schedule` over `config.steps`.

    constant; step: times `step_factor` every `step_every` steps; poly: (1 - step / steps)^power;
    cosine: to zero at the end. `warmup_steps` come first, linear from zero, or with `warmup_from`
    above 0 exponential from that share of the rate, and are part of `config.steps`.
    """
    options = config.optimizer.schedule
    peak, warmup = config.optimizer.learning_rate, options.warmup_steps
    share = options.get("warmup_from", 0.0)
    rest = config.steps - warmup
    if rest <= 0:
        raise ValueError(f"warmup_steps ({warmup}) must be fewer than steps ({config.steps})")
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
    after = schedules[one_of(options.name, schedules, "schedule")]()
    if warmup == 0:
        return after
    if share:
        before = optax.exponential_decay(share * peak, warmup, 1 / share)
    else:
        before = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([before, after], [warmup])


def module_rates(rates: dict[str, float], modules: Iterable[str]) -> optax.GradientTransformation:
    """Updates times a factor for each top-level module of the network; 0 freezes it."""
    modules = list(modules)
    for name in rates:
        one_of(name, modules, "module in optimizer.module_rates")

    def scale(updates: Any, params: Any = None) -> Any:
        factors = {name: rates.get(name, 1.0) for name in updates}
        return {name: optax.tree.scale(factors[name], updates[name]) for name in updates}

    return optax.stateless(scale)


def is_kernel(params: Any) -> Any:
    """True for the kernels of `params`: neither biases nor scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def create_optimizer(config: Any, modules: Iterable[str]) -> optax.GradientTransformation:
    """The optimizer of `config.optimizer`, for a network with these top-level modules.

    First gradients are clipped to the global norm `clip_norm`, where it is above 0. `weight_decay`
    times the parameters (`decay`: all of them, or kernels alone) is then added to the gradients of
    sgd and adam, as PyTorch and Paddle do, and to the updates of adamw (Loshchilov & Hutter 2019).
    `module_rates` multiply the learning rate, so the decay as well.
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
    return optax.chain(*steps, module_rates(dict(options.module_rates), modules))
