import math

import pytest

from matting_jax.choices import at_least, is_probability, one_of, refuse_input, require_input


def test_valid_choice_is_returned():
    assert one_of("adam", ("sgd", "adam"), "optimizer.name") == "adam"


def test_unknown_choice_suggests_the_closest_and_lists_all():
    with pytest.raises(ValueError) as error:
        one_of("adamm", ("sgd", "adam"), "optimizer.name")
    assert str(error.value) == (
        "unknown optimizer.name 'adamm': did you mean 'adam'? (valid: sgd, adam)"
    )


@pytest.mark.parametrize("value", [3, True, ("adam",)])
def test_choice_of_another_type_is_unknown(value):
    with pytest.raises(ValueError, match="unknown optimizer.name .*did you mean"):
        one_of(value, ("sgd", "adam"), "optimizer.name")


def test_many_choices_are_not_listed():
    with pytest.raises(ValueError) as error:
        one_of("c31", [f"c{i}" for i in range(30)], "choice")
    assert str(error.value).endswith("?")


def test_values_in_range_pass():
    at_least(1, 1, "steps")
    for value in (0, 0.5, 1.0):
        is_probability(value, "flip")


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_value_outside_0_to_1_is_no_probability(value):
    with pytest.raises(ValueError, match=rf"flip must be a probability in \[0, 1\], got {value}"):
        is_probability(value, "flip")


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_too_small_value_is_reported(value):
    with pytest.raises(ValueError, match=f"config.steps must be at least 1, got {value}"):
        at_least(value, 1, "config.steps")


def test_missing_and_unexpected_inputs_are_reported():
    require_input("trimap", {"trimap"}, "gca", "pass --trimap")
    refuse_input("trimap", {"trimap"}, "gca", "--trimap")
    with pytest.raises(ValueError, match="^gca needs a trimap for each photo: pass --trimap$"):
        require_input("trimap", {}, "gca", "pass --trimap")
    with pytest.raises(ValueError, match="^modnet takes no trimap: omit --trimap$"):
        refuse_input("trimap", {}, "modnet", "--trimap")


def test_empty_choice_is_said_to_be_missing():
    with pytest.raises(ValueError, match="no task is given: choose one of a, b"):
        one_of("", ["a", "b"], "task")
    many = [str(i) for i in range(13)]
    with pytest.raises(ValueError, match=r"10, 11, \.\.\.$"):
        one_of("", many, "task")
