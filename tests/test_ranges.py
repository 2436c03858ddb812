"""Numbers of a config that cannot be are refused before anything starts."""

import runpy

import pytest

from matting_jax.commandline import main, missing_field, parse
from matting_jax.config import defaults, flatten, load_config
from matting_jax.models import find_network
from matting_jax.prediction.options import check_options
from matting_jax.ranges import CHOICES, RANGES, contains, numbers, range_of
from matting_jax.tasks import check_config, find_task
from tests.helpers import CONFIGS, MODNET


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("batch_size=0", r"must be in \[1, inf\), got 0"),
        ("steps=-3", r"must be in \[1, inf\), got -3"),
        ("ema_decay=2.0", r"must be in \[0, 1\), got 2.0"),
        ("optimizer.momentum=1.0", r"must be in \[0, 1\), got 1.0"),
        ("optimizer.learning_rate=-1.0", r"must be in \[0, inf\), got -1.0"),
        ("optimizer.learning_rate=nan", "must be finite, got nan"),
        ("optimizer.learning_rate=inf", "must be finite, got inf"),
        ("optimizer.module_rates.backbone=nan", "must be finite, got nan"),
        ("synthesis.flip=2.0", r"must be in \[0, 1\], got 2.0"),
        ("synthesis.trimap_kernel=(20,10)", r"must be \(SMALLEST, LARGEST\), got \(20, 10\)"),
        ("data.crop.rescale=(9,3)", r"must be \(SMALLEST, LARGEST\), got \(9, 3\)"),
        ("data.crop.rescale=(0,3)", r"must be in \[1, inf\), got \(0, 3\)"),
        ("optimizer.module_rates.backbone=-1.0", r"must be in \[0, inf\), got -1.0"),
        ("task.semantic_weight=-1.0", r"must be in \[0, inf\), got -1.0"),
        ("test_time.reference_size=-1", r"must be in \[1, inf\), got -1"),
        ("test_time.reference_size=0", r"must be in \[1, inf\), got 0"),
        ("steps=3000000000", "must be at most 2147483647, got 3000000000"),
        ("data.workers=0", r"must be in \[1, inf\), got 0"),
        ("data.test.trimap_distance=-2", r"must be in \[-1, inf\), got -2"),
    ],
)
def test_number_out_of_range_is_refused_with_field_range_and_value(argument, words):
    field = argument.partition("=")[0]
    config = parse(["launch.py", f"--config={MODNET}", f"--config.{argument}"]).config
    with pytest.raises(ValueError, match=f"--config.{field} {words}"):
        check_config(config)


@pytest.mark.parametrize("field", CHOICES)
def test_text_that_is_no_choice_is_refused(field):
    config = parse(["launch.py", f"--config={MODNET}", f"--config.{field}=zzz"]).config
    with pytest.raises(ValueError, match=f"unknown config.{field} 'zzz': did you mean"):
        check_config(config)
    assert flatten(defaults())[field] in CHOICES[field]


def test_text_of_one_network_is_one_of_its_choices(capsys):
    arguments = [f"--config={CONFIGS / 'gfm.py'}", "--config.test_time.strategy=hybird"]
    assert main(["launch.py", *arguments], "") == 2
    error = capsys.readouterr().err
    assert "test_time.strategy 'hybird': did you mean 'hybrid'? (valid: hybrid, resize)" in error
    with pytest.raises(ValueError, match="did you mean 'hybrid'"):
        check_options("gfm", {"strategy": "hybird"})


@pytest.mark.parametrize("mode", ["train", "evaluate", "predict", "convert"])
def test_every_program_refuses_them_in_one_line_before_it_starts(
    mode, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = {"predict": ["--input=x", "--output=y"], "convert": ["--output=y.pth"]}.get(mode, [])
    arguments = [f"--mode={mode}", *given, "--config.batch_size=0"]
    assert main(["launch.py", f"--config={MODNET}", *arguments], "") == 2
    error = capsys.readouterr().err
    assert error.startswith("launch.py: --config.batch_size must be in [1, inf), got 0")
    assert error.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data.crop.rescale", ("a", "b"), r"must have only numbers, got \('a', 'b'\)"),
        ("data.crop.rescale", 3, r"must be \(SMALLEST, LARGEST\), got 3"),
        ("data.crop.rescale", (), r"must be \(SMALLEST, LARGEST\), got \(\)"),
        ("synthesis.flip", "often", "must have only numbers, got 'often'"),
        ("synthesis.flip", None, "must have only numbers, got None"),
    ],
)
def test_values_of_a_file_that_are_no_numbers_are_refused(field, value, words):
    config = load_config(MODNET, "")
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"--config.{field} {words}"):
        check_config(config)


def test_field_that_a_config_lacks_is_named():
    fields, other = defaults().synthesis, {}
    for read, name in (
        (lambda: fields.flip, "'flip'"),
        (lambda: fields["flip"], "'flip'"),
        (lambda: other["flip"], ""),
        (lambda: fields.flip_probability.upper, "'flip_probability'"),
    ):
        with pytest.raises((AttributeError, KeyError)) as error:
            read()
        assert missing_field(error.value) == name


def recipes():
    """Yields each recipe with each of its variants."""
    for path in sorted(CONFIGS.glob("*.py")):
        variants = runpy.run_path(str(path)).get("VARIANTS", ())
        yield from ((path, variant) for variant in ("", *variants))


def test_every_number_of_every_recipe_has_a_range_and_is_in_it():
    for path, variant in recipes():
        config = load_config(path, variant)
        check_config(config)
        own = {**find_network(config.name).ranges, **find_task(config.task.name).ranges}
        for field, value in flatten(config).items():
            if field != "profile_steps" and list(numbers(value)):
                assert range_of(field, own), f"{path.stem}:{variant} {field}"


def test_every_number_of_the_defaults_has_a_range():
    for field, value in flatten(defaults()).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        assert (field in RANGES) == is_number, field


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5), (-0.1, 1)),
        ("[0, 1]", (0, 1), (1.01,)),
        ("[1, inf)", (1, 9e9), (0,)),
        ("(0, 1]", (1e-9, 1), (0,)),
    ],
)
def test_interval_contains_its_closed_ends(interval, inside, outside):
    assert all(contains(interval, x) for x in inside)
    assert not any(contains(interval, x) for x in outside)
