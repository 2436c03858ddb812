"""Reading, computing and writing overlap; order, errors and memory are those of a loop."""

import threading
from contextlib import closing

import pytest

from matting_jax import overlap as module
from matting_jax.overlap import attempt, overlap, overlap_batches


def test_results_and_errors_are_those_of_a_loop_in_order():
    def load(item):
        if item == 2:
            raise ValueError("no file")
        return 10 * item

    def compute(item, loaded):
        if item == 4:
            raise MemoryError
        return loaded + 1

    def finish(item, computed):
        if item == 5:
            raise OSError("full")
        return computed / 2

    found = {}
    for item, result in overlap(range(8), load, compute, finish):
        found[item] = result.exception() or result.result()
    assert list(found) == [*range(8)]
    assert {item: type(x) for item, x in found.items() if isinstance(x, Exception)} == {
        2: ValueError,
        4: MemoryError,
        5: OSError,
    }
    assert [found[x] for x in (0, 1, 3, 6, 7)] == [0.5, 5.5, 15.5, 30.5, 35.5]


def test_next_item_is_loaded_and_the_one_before_finished_while_one_is_computed():
    """Each stage waits for another one, which never comes if they do not overlap."""
    loaded, finished = [threading.Event() for _ in range(4)], [threading.Event() for _ in range(4)]

    def load(item):
        loaded[item].set()

    def compute(item, _):
        assert item == 3 or loaded[item + 1].wait(60)
        assert item == 0 or finished[item - 1].wait(60)

    def finish(item, _):
        finished[item].set()

    assert [x.exception() for _, x in overlap(range(4), load, compute, finish)] == [None] * 4


@pytest.mark.parametrize("pixels, most", [(1, 3), (2**26, 1), (2**40, 0)])
def test_few_items_are_in_memory_and_fewer_large_ones(monkeypatch, pixels, most):
    monkeypatch.setattr(module, "cores", lambda: 4)
    computed, taken, worst = 0, 0, 0

    def compute(item, loaded):
        nonlocal computed, worst
        computed += 1
        worst = max(worst, computed - taken)

    stages = overlap(range(20), lambda x: x, compute, lambda *_: None, lambda _: pixels)
    for _ in stages:
        taken += 1
    assert worst == most + 1  # those that are finished, and the one that is computed


def test_nothing_more_is_computed_after_the_caller_stops():
    computed = []
    with closing(overlap(range(20), lambda x: x, lambda x, _: computed.append(x), print)) as stages:
        next(stages)
    assert len(computed) < 7


def test_second_batch_is_computed_before_the_first_has_come_back():
    """Each of two batches waits for the other one, and results keep their order."""
    begun = [threading.Event() for _ in range(6)]

    def compute(batch, loaded):
        number = batch[0] // 2
        begun[number].set()
        assert begun[number ^ 1].wait(60)
        return [attempt(lambda x=x: 10 * x.result()) for x in loaded]

    batches = [(2 * i, 2 * i + 1) for i in range(6)]
    stages = overlap_batches(
        batches, lambda x: x + 1, compute, lambda _, x: x + 5, readers=2, computers=2
    )
    found = [(item, result.result()) for item, result in stages]
    assert found == [(x, 10 * (x + 1) + 5) for x in range(12)]


@pytest.mark.parametrize("computers", [1, 2])
def test_items_of_a_batch_that_fail_are_their_own(computers):
    def compute(batch, loaded):
        return [attempt(lambda x=x: 1 / x.result()) for x in loaded]

    stages = overlap_batches([(0, 1), (2,)], int, compute, lambda _, x: x, computers=computers)
    errors = [type(result.exception()) for _, result in stages]
    assert errors == [ZeroDivisionError, type(None), type(None)]
