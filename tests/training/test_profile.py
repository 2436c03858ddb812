import jax
import pytest

from matting_jax.training.train import train


@pytest.mark.parametrize("steps", [(2,), (0, 3), (3, 2), (1, 2, 3)])
def test_wrong_steps_are_one_message(config, tmp_path, steps):
    config.profile_steps = steps
    with pytest.raises(ValueError, match=r"profile_steps must be \(\) or \(FIRST, LAST\)"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_steps_that_are_not_trained_are_refused(config, tmp_path):
    config.profile_steps = config.steps + 1, config.steps + 2
    with pytest.raises(ValueError, match=r"is \(5, 6\), but training ends after step 4"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_trace_holds_the_steps_asked_for(config, tmp_path):
    config.evaluate_every, config.evaluate_first = 0, "none"
    calls = []
    for first, last in ((2, 3), (4, 9)):
        config.profile_steps = first, last
        train(config, tmp_path / f"run_{first}")
        [path] = (tmp_path / f"run_{first}" / "profile").rglob("*.xplane.pb")
        names = [
            event.name
            for plane in jax.profiler.ProfileData.from_file(str(path)).planes
            for line in plane.lines
            for event in line.events
        ]
        calls.append(sum("PjitFunction" in name and "step" in name for name in names))
    assert calls[0] == 2 * calls[1] > 0  # the run ends after step 4
