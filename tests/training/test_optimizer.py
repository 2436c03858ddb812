import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.config import defaults
from matting_jax.training.optimizer import create_optimizer, learning_rate


def config_of(
    schedule="constant", steps=100, rate=0.2, warmup=0, name="sgd", rates=None, first=0, **values
):
    config = defaults()
    config.steps = steps
    config.optimizer.update(name=name, learning_rate=rate, b1=0.8, b2=0.95, eps=1e-3)
    config.optimizer.schedule.update(
        name=schedule, power=0.9, step_every=7, step_factor=0.1, warmup_steps=warmup
    )
    config.optimizer.schedule.first_step = first
    config.optimizer.module_rates = rates or {}
    config.optimizer.update(values)
    return config


FORMULAS = {
    "constant": lambda step, steps: 1.0,
    "step": lambda step, steps: 0.1 ** (step // 7),
    "poly": lambda step, steps: (1 - step / steps) ** 0.9,
    "cosine": lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_schedule_follows_its_formula_after_a_linear_warm_up(name, data):
    steps = data.draw(st.integers(2, 300))
    warmup = data.draw(st.integers(0, steps - 1))
    step = data.draw(st.integers(0, steps))
    rate = learning_rate(config_of(name, steps, 0.2, warmup))(step)
    if step < warmup:
        expected = 0.2 * step / warmup
    else:
        expected = 0.2 * FORMULAS[name](step - warmup, steps - warmup)
    assert float(rate) == pytest.approx(expected, rel=2e-4, abs=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("warmup", [0, 5])
def test_schedule_may_start_one_step_ahead(name, warmup):
    ahead = learning_rate(config_of(name, steps=20, warmup=warmup, first=1))
    plain = learning_rate(config_of(name, steps=20, warmup=warmup))
    for step in range(20):
        assert float(ahead(step)) == float(plain(step + 1))
    if warmup:
        assert float(ahead(0)) == pytest.approx(0.2 / warmup)


def test_exponential_warm_up_and_poly_equal_those_of_bisenet():
    """The rates of the published 150,000 iterations: 1000 warm-up steps, starting from a tenth."""
    config = config_of("poly", steps=150_000, rate=1.0, warmup=1000)
    config.optimizer.schedule.warmup_from = 0.1
    expected = {
        0: 0.1,
        1: 0.10023052,
        250: 0.17782794,
        500: 0.31622777,
        999: 0.99770006,
        1000: 1.0,
        1001: 0.99999396,
        50_000: 0.69844523,
        100_000: 0.37428753,
        149_999: 2.2086778e-05,
    }
    rates = {step: float(learning_rate(config)(step)) for step in expected}
    assert rates == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name, end", [("poly", 0), ("cosine", 0), ("constant", 0.2)])
def test_schedule_starts_at_the_peak_and_ends_at_its_final_rate(name, end):
    rate = learning_rate(config_of(name, steps=40))
    assert float(rate(0)) == pytest.approx(0.2)
    assert float(rate(40)) == pytest.approx(end, abs=1e-7)


def test_warm_up_without_remaining_steps_raises():
    with pytest.raises(
        ValueError, match=r"warmup_steps \(10\) must be fewer than config.steps \(10\)"
    ):
        learning_rate(config_of(steps=10, warmup=10))


def test_step_schedule_without_an_interval_raises():
    config = config_of("step")
    config.optimizer.schedule.step_every = 0
    with pytest.raises(ValueError, match="step_every"):
        learning_rate(config)


def run(config, gradients, start):
    """Returns parameters {module: {leaf: value}} after one update for each gradient."""
    params = {name: {"x": jnp.asarray(x, jnp.float32)} for name, x in start.items()}
    optimizer = create_optimizer(config, params)
    state = optimizer.init(params)
    for gradient in gradients:
        grads = {name: {"x": jnp.asarray(x, jnp.float32)} for name, x in gradient.items()}
        updates, state = optimizer.update(grads, state, params)
        params = {name: {"x": params[name]["x"] + updates[name]["x"]} for name in params}
    return {name: np.asarray(tree["x"]) for name, tree in params.items()}


START = {"a": np.array([1.0, -2.0]), "b": np.array([0.5, 3.0])}
GRADIENTS = [
    {"a": np.array([0.3, -1.0]), "b": np.array([2.0, 0.0])},
    {"a": np.array([-0.2, 0.5]), "b": np.array([1.0, 0.1])},
    {"a": np.array([0.7, 0.1]), "b": np.array([-3.0, 0.2])},
]


def sgd(name, momentum, rates):
    x, velocity = START[name], 0
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        velocity = momentum * velocity + gradient[name]
        x = x - rate * velocity
    return x


def adam(name, rates):
    x, m, v = START[name], 0, 0
    for t, (rate, gradient) in enumerate(zip(rates, GRADIENTS, strict=True), 1):
        g = gradient[name]
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        x = x - rate * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
    return x


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_follows_its_formula(momentum):
    params = run(config_of(momentum=momentum), GRADIENTS, START)
    for name in START:
        np.testing.assert_allclose(params[name], sgd(name, momentum, [0.2] * 3), rtol=1e-5)


def test_adam_follows_its_formula():
    params = run(config_of(name="adam"), GRADIENTS, START)
    for name in START:
        np.testing.assert_allclose(params[name], adam(name, [0.2] * 3), rtol=1e-5)


def test_each_step_uses_its_own_learning_rate():
    params = run(config_of("poly", steps=3, warmup=1), GRADIENTS, START)
    rates = [0.0, 0.2, 0.2 * 0.5**0.9]
    np.testing.assert_allclose(params["a"], sgd("a", 0.9, rates), rtol=1e-5)


@pytest.mark.parametrize("name, formula", [("sgd", lambda n, r: sgd(n, 0.9, r)), ("adam", adam)])
def test_module_rates_multiply_the_learning_rate_of_their_module_only(name, formula):
    params = run(config_of(name=name, rates={"b": 0.25}), GRADIENTS, START)
    np.testing.assert_allclose(params["a"], formula("a", [0.2] * 3), rtol=1e-5)
    np.testing.assert_allclose(params["b"], formula("b", [0.05] * 3), rtol=1e-5)


def test_module_of_rate_zero_stays_bit_equal():
    params = run(config_of(rates={"b": 0.0}), GRADIENTS, START)
    np.testing.assert_array_equal(params["b"], START["b"].astype(np.float32))


@pytest.mark.parametrize(
    "change, nearest",
    [
        (dict(name="adaam"), "adam"),
        (dict(name="SGD"), "sgd"),
        (dict(schedule="cosin"), "cosine"),
        (dict(schedule="polly"), "poly"),
        (dict(rates={"backbon": 0.5}), "backbone"),
        (dict(decay="kernel"), "kernels"),
    ],
)
def test_wrong_name_raises_with_the_closest_valid_one(change, nearest):
    with pytest.raises(ValueError, match=f"did you mean '{nearest}'"):
        create_optimizer(config_of(**change), ["backbone", "head"])


LAYERS = {
    "body": {"conv": {"kernel": (3, 4), "bias": (4,)}, "norm": {"scale": (4,), "bias": (4,)}},
    "head": {"conv": {"kernel": (4, 2), "bias": (2,)}},
}


def drawn(rng, scale=1.0):
    """Returns float64 arrays for every leaf of LAYERS."""
    return jax.tree.map(
        lambda shape: scale * rng.normal(size=shape), LAYERS, is_leaf=lambda x: isinstance(x, tuple)
    )


def torch_run(torch, config, start, gradients):
    """Returns the result of torch.optim for the same parameters, gradients and options."""
    options = config.optimizer
    params = jax.tree.map(lambda x: torch.nn.Parameter(torch.tensor(x)), start)
    groups = [
        dict(
            params=[param],
            lr=options.learning_rate * options.module_rates.get(path[0].key, 1.0),
            weight_decay=options.weight_decay
            if options.decay == "all" or path[-1].key == "kernel"
            else 0.0,
        )
        for path, param in jax.tree_util.tree_leaves_with_path(params)
    ]
    adam = dict(betas=(options.b1, options.b2), eps=options.eps)
    optimizer = {
        "sgd": lambda: torch.optim.SGD(groups, momentum=options.momentum),
        "adam": lambda: torch.optim.Adam(groups, **adam),
        "adamw": lambda: torch.optim.AdamW(groups, **adam),
    }[options.name]()
    leaves = jax.tree.leaves(params)
    for gradient in gradients:
        for param, grad in zip(leaves, jax.tree.leaves(gradient), strict=True):
            param.grad = torch.tensor(grad)
        if options.clip_norm:
            torch.nn.utils.clip_grad_norm_(leaves, options.clip_norm)
        optimizer.step()
    return jax.tree.map(lambda param: param.detach().numpy(), params)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "options",
    [
        dict(weight_decay=0.1),
        dict(weight_decay=0.1, decay="kernels"),
        dict(weight_decay=0.1, rates={"body": 0.25}),
        dict(weight_decay=0.1, rates={"body": 0.0}),
        dict(clip_norm=0.5),
        dict(clip_norm=6.0),  # some of the gradients are below it
        dict(weight_decay=0.1, decay="kernels", rates={"head": 3.0}, clip_norm=0.5),
    ],
    ids=str,
)
def test_decay_rates_and_clipping_equal_those_of_pytorch(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, gradients = drawn(rng), [drawn(rng, scale) for scale in (2.0, 0.5, 1.0, 3.0, 0.1)]
    config = config_of(name=name, **options)
    expected = torch_run(torch, config, start, gradients)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        optimizer = create_optimizer(config, params)
        state = optimizer.init(params)
        for gradient in gradients:
            updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
            params = optax.apply_updates(params, updates)
    # PyTorch clips to a norm smaller by 1e-6 of it.
    tolerance = 1e-6 if config.optimizer.clip_norm else 1e-9
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), params, expected
    )


def clipped_by_hand(factor, gradients):
    """GCA's clipping: the limit of a step depends on the unclipped norms of the earlier steps."""
    moving, results = None, []
    for gradient in gradients:
        norm = np.sqrt(sum(np.sum(x**2) for x in jax.tree.leaves(gradient)))
        limit = 1e6 if moving is None else factor * moving
        moving = norm if moving is None else 0.999 * moving + 0.001 * norm
        scale = min(1, limit / norm)
        results.append(jax.tree.map(lambda x, scale=scale: scale * x, gradient))
    return results


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_clipping_by_a_moving_norm_follows_its_formula(factor):
    rng = np.random.default_rng(0)
    scales = (3.0, 1.0, 20.0, 0.1, 50.0, 7.0, 6.0)
    start, gradients = drawn(rng), [drawn(rng, scale) for scale in scales]
    expected = clipped_by_hand(factor, gradients)
    assert [
        np.allclose(x["head"]["conv"]["bias"], y["head"]["conv"]["bias"])
        for x, y in zip(expected, gradients, strict=True)
    ].count(False) > 1
    config = config_of(rate=1.0, clip_moving=factor, momentum=0.0)
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        optimizer = create_optimizer(config, params)
        state = optimizer.init(params)
        for gradient, clipped in zip(gradients, expected, strict=True):
            updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
            jax.tree.map(
                lambda x, y: np.testing.assert_allclose(x, -y, rtol=1e-12), updates, clipped
            )


def test_first_step_of_a_moving_norm_is_clipped_to_a_million():
    config = config_of(rate=1.0, clip_moving=2.0, momentum=0.0)
    params = {"a": jnp.zeros(2)}
    optimizer = create_optimizer(config, params)
    updates, _ = optimizer.update({"a": jnp.array([3e7, 4e7])}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"], [-6e5, -8e5], rtol=1e-6)


def test_zero_gradient_stays_zero_with_a_moving_norm():
    config = config_of(clip_moving=2.0)
    zero = {"a": jnp.zeros(2)}
    optimizer = create_optimizer(config, zero)
    state = optimizer.init(zero)
    for _ in range(2):
        updates, state = optimizer.update(zero, state, zero)
        np.testing.assert_array_equal(updates["a"], 0)


def test_without_decay_and_clipping_a_checkpoint_holds_only_the_state_of_the_optimizer():
    params = jax.tree.map(jnp.asarray, drawn(np.random.default_rng(0)))
    plain = optax.chain(optax.adam(lambda step: 0.1), optax.identity())
    state = create_optimizer(config_of(name="adam"), params).init(params)
    assert jax.tree.structure(state) == jax.tree.structure(plain.init(params))
