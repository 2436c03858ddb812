import pytest

from tests.kills import run


@pytest.mark.slow
def test_run_that_is_killed_repeatedly_equals_an_uninterrupted_run(tmp_path):
    equal = run(kills=4, seed=1, folder=tmp_path)
    assert {"params", "opt_state", "batch_stats", "ema", "step", "test scores"} <= equal.keys()
    assert all(equal.values()), equal
