"""The step after which all processes of a job stop."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.common_step import CommonStep


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=4))
def test_all_stop_after_the_same_step(lags):
    """Lags: steps behind the first process where each is held, and taken until its release."""
    processes = [CommonStep() for _ in lags]
    for process, (behind, _) in zip(processes, lags, strict=True):
        for step in range(1, 11 - behind):
            assert not process.reached(step)
    held = [process.hold() for process in processes]
    stopped = []

    def go_on(process: CommonStep, step: int) -> None:
        while not process.reached(step):
            step += 1
        stopped.append(step)

    threads = [
        threading.Thread(target=go_on, args=(process, step + 1), daemon=True)
        for process, step in zip(processes, held, strict=True)
    ]
    early = [thread for thread, (_, soon) in zip(threads, lags, strict=True) if soon]
    for thread in early:
        thread.start()
    for process in processes:
        process.release(max(held) + 1)
    for thread in threads:
        if thread not in early:
            thread.start()
        thread.join(30)
    assert stopped == [max(held) + 1] * len(processes)


@pytest.mark.parametrize("step", [0, 7])
def test_process_that_is_released_without_a_step_goes_on(step):
    process = CommonStep()
    assert not process.reached(step)
    assert process.hold() == step
    process.release(None)
    assert not process.reached(step + 1)
