"""Fields of a config that the command line sets."""

import pytest

from matting_jax.commandline import main, parse
from matting_jax.config import flatten
from matting_jax.workdir.claim import claim
from tests.commands import BASE, parsed
from tests.helpers import MODNET_SOC, ROOT


@pytest.mark.parametrize(
    "field, value, closest",
    [
        ("optimizer.name", "sdg", "sgd"),
        ("optimizer.schedule.name", "cosin", "cosine"),
        ("compute_dtype", "bfloat61", "bfloat16"),
        ("name", "modnett", "modnet"),
        ("task.name", "modnt", "modnet"),
    ],
)
def test_wrong_choice_in_a_field_suggests_the_closest(
    config, tmp_path, capsys, field, value, closest
):
    claim(tmp_path / "old", config)
    (tmp_path / "recipe.py").write_text(
        "from matting_jax.config import read_config\n"
        f"def get_config():\n    return read_config({str(tmp_path / 'old')!r})\n"
    )
    arguments = [f"--config={tmp_path / 'recipe.py'}", f"--workdir={tmp_path / 'new'}"]
    assert main(["launch.py", *arguments, f"--config.{field}={value}"], "") == 2
    error = capsys.readouterr().err
    assert f"did you mean {closest!r}" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, field, expected",
    [
        (["--config.steps=7"], "steps", 7),
        (["--config.steps", "7"], "steps", 7),
        (["--config.seed=-3"], "seed", -3),
        (["--config.seed", "-3"], "seed", -3),
        (["--config.optimizer.learning_rate=-0.5"], "optimizer.learning_rate", -0.5),
        (["--config.optimizer.learning_rate", "1e-3"], "optimizer.learning_rate", 1e-3),
        (["--config.optimizer.learning_rate=2"], "optimizer.learning_rate", 2.0),
        (["--config.data.skip_bad=True"], "data.skip_bad", True),
        (["--config.data.skip_bad=true"], "data.skip_bad", True),
        (["--config.data.skip_bad", "True"], "data.skip_bad", True),
        (["--config.allocator=False"], "allocator", False),
        (["--config.allocator=false"], "allocator", False),
        (["--noconfig.allocator"], "allocator", False),
        (["--config.synthesis.trimap_kernel=(3, 5)"], "synthesis.trimap_kernel", (3, 5)),
        (["--config.synthesis.trimap_kernel", "(3,5)"], "synthesis.trimap_kernel", (3, 5)),
        (["--config.data.train.foregrounds=a b=c:d"], "data.train.foregrounds", "a b=c:d"),
        (["--config.data.cache="], "data.cache", ""),
        (["--config.steps=7", "--config.steps=8"], "steps", 8),
    ],
)
def test_override_reaches_the_config(arguments, field, expected):
    value = parsed(BASE, *arguments).config
    for name in field.split("."):
        value = value[name]
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("batch_size=many", "batch_size must be a whole number, got 'many'"),
        ("batch_size=1.5", "batch_size must be a whole number, got '1.5'"),
        ("steps=", "steps must be a whole number, got ''"),
        ("optimizer.learning_rate=x=y", "optimizer.learning_rate must be a number, got 'x=y'"),
        ("data.skip_bad=maybe", "data.skip_bad must be True or False, got 'maybe'"),
    ],
)
def test_value_of_another_type_is_told_in_words(argument, words):
    with pytest.raises(ValueError) as error:
        parsed(BASE, f"--config.{argument}")
    assert str(error.value) == f"--config.{words}"


def test_overrides_change_no_other_field():
    plain = flatten(parsed(BASE).config)
    changed = flatten(parsed("--config.seed=17", BASE, "--config.steps=9").config)
    assert {name for name in plain if plain[name] != changed[name]} == {"seed", "steps"}


def test_flags_may_stand_before_and_after_the_fields():
    values = parsed(BASE, "--config.seed", "4", "--mode", "evaluate", "--save", "--workdir", "w")
    assert (values.mode, values.save, values.workdir, values.config.seed) == (
        "evaluate",
        True,
        "w",
        4,
    )


def test_pair_stays_a_pair_and_other_tuples_have_any_length():
    start = ["launch.py", f"--config={MODNET_SOC}"]
    values = parse([*start, "--config.task.classes=(0.0,0.5,1.0)"])
    assert values.config.task.classes == (0.0, 0.5, 1.0)
    with pytest.raises(ValueError, match="rescale takes 2 numbers"):
        parse([*start, "--config.data.crop.rescale=(1,2,3)"])
    windows = "--config.data.crop.windows=(64,96)"
    values = parse(["launch.py", f"--config={ROOT / 'configs' / 'dim.py'}", windows])
    assert values.config.data.crop.windows == (64, 96)


def test_tuple_of_names_has_any_length():
    start = ["launch.py", f"--config={ROOT / 'configs' / 'bisenet_v2.py'}"]
    for names in ((), ("aux2",), ("aux4", "aux3")):
        values = parse([*start, f"--config.model.booster_positions={names}"])
        assert values.config.model.booster_positions == names
    with pytest.raises(ValueError, match="trimap_kernel takes numbers"):
        parse([*start, "--config.synthesis.trimap_kernel=('a','b')"])


def test_tuple_of_pairs_has_any_length():
    start = ["launch.py", f"--config={ROOT / 'configs' / 'bgmv2.py'}:refine"]
    for views in ((), ((64, 96),)):
        values = parse([*start, f"--config.synthesis.views={views}"])
        assert values.config.synthesis.views == views
