"""Recipes, and configs of workdirs, have every field that general code reads."""

import importlib.util
import json
import shutil

import pytest
from ml_collections import ConfigDict

from matting_jax.config import SYNONYMS, defaults, flatten, load_config, read_config
from matting_jax.workdir.claim import FREE, added_fields, claim
from tests.configuration_page import PAGE, comments_of, page
from tests.helpers import CONFIGS, ROOT

# config.json of runs that were started before `defaults()` existed: RECIPE_VARIANT.json.
OLD = sorted((ROOT / "tests" / "old_configs").glob("*.json"))

# Groups of a recipe's own fields.
OWN = (
    "model.",
    "init.model.",
    "task.",
    "synthesis.",
    "optimizer.module_rates.",
    "data.crop.",
    "test.",
    "test_time.",
)


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipe_of(file):
    name, variant = file.stem.rsplit("_", 1)
    config = load_config(CONFIGS / f"{name}.py", variant)
    if file.stem == "modnet_sample":  # The recipe has changed since; its old values are set.
        config.batch_size, config.optimizer.learning_rate = 4, 0.004
        config.task.update(form="official", boundary_weight=4.0)
        config.task.update(semantic_weight=10.0, detail_weight=10.0, matte_weight=1.0)
    return config


def place(file, workdir):
    """Makes a workdir with the config `file` and a checkpoint."""
    (workdir / "checkpoints" / "1").mkdir(parents=True)
    shutil.copy(file, workdir / "config.json")


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
def test_config_of_an_older_run_is_completed(file, tmp_path):
    place(file, tmp_path)
    saved = json.loads(file.read_text())
    config, recipe = read_config(tmp_path), recipe_of(file)
    fields = added_fields(recipe) | flatten(config)
    assert fields.keys() == flatten(recipe).keys()
    assert [x for x in fields if x not in FREE and fields[x] != flatten(recipe)[x]] == []
    assert flatten(ConfigDict(saved)).keys() < flatten(config).keys()


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
def test_older_run_resumes_with_its_recipe(file, tmp_path):
    place(file, tmp_path)
    claim(tmp_path, recipe_of(file))
    changed = recipe_of(file)
    changed.seed += 1
    with pytest.raises(ValueError, match="another config"):
        claim(tmp_path, changed)


def test_saved_fields_without_a_default_are_kept(tmp_path):
    saved = {"steps": 7, "extra": {"pair": [1, 2]}, "data": {"crop": {"scales": [0.5, 2.0]}}}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    config = read_config(tmp_path)
    assert config.extra.pair == (1, 2) and config.data.crop.scales == (0.5, 2.0)
    assert config.steps == 7 and config.data.workers == defaults().data.workers


def test_recipe_without_some_fields_is_completed(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\n"
        "def get_config():\n"
        "    return ConfigDict(dict(name='modnet', data=dict(workers=2))).lock()\n"
    )
    expected = defaults()
    expected.name, expected.data.workers = "modnet", 2
    assert flatten(load_config(path, "")) == flatten(expected)


def test_every_synonym_suggests_a_field_and_is_none():
    fields = flatten(defaults())
    for word, field in SYNONYMS.items():
        assert field in fields
        assert word not in fields


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "fails: SyntaxError: "),
        ("import no_such_module", "fails: ModuleNotFoundError: No module named 'no_such_module'"),
        ("steps = 4", "must define get_config()"),
        ("def get_config():\n    pass", "must return a ConfigDict, got None"),
        (
            "def get_config():\n    return {'steps': 4}",
            "must return a ConfigDict, got {'steps': 4}",
        ),
        ("def get_config():\n    raise KeyError('x')", "fails: KeyError: 'x'"),
        ("def get_config():\n    raise ValueError('two\\nlines')", "fails: two lines"),
    ],
)
def test_config_file_that_gives_no_config_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "recipe.py"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        load_config(path, "")
    assert str(path) in str(error.value) and words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the config of the run, is empty"),
        ('{"steps": ', "the config of the run, is damaged or incomplete"),
        ("\x00", "is damaged or incomplete"),
        ("[" * 100_000, "is damaged or incomplete"),
        ("[1, 2]", r"is no config of a run: it holds \[1, 2\]"),
        ("null", "is no config of a run: it holds None"),
        ('{"name": 3}', "name must be a text, got 3"),
        ('{"steps": "many"}', "steps must be a whole number, got 'many'"),
        ('{"steps": 1.5}', "steps must be a whole number, got 1.5"),
        ('{"steps": true}', "steps must be a whole number, got True"),
        ('{"allocator": "yes"}', "allocator must be True or False, got 'yes'"),
        ('{"optimizer": {"eps": null}}', "optimizer.eps must be a number, got None"),
        ('{"data": {"crop": 3}}', "data.crop must be a group of fields, got 3"),
        ('{"model": [1]}', r"model must be a group of fields, got \(1,\)"),
    ],
)
def test_config_of_a_run_that_cannot_be_is_one_sentence(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"config.json.*{words}") as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)


def test_whole_number_is_a_number(tmp_path):
    (tmp_path / "config.json").write_text('{"optimizer": {"learning_rate": 1}}')
    assert read_config(tmp_path).optimizer.learning_rate == 1


RECIPES = [
    (path, variant)
    for path in sorted(CONFIGS.glob("*.py"))
    for variant in ("", *load_module(path).VARIANTS)
]


@pytest.mark.parametrize("path, variant", RECIPES, ids=lambda x: getattr(x, "stem", x))
def test_recipe_has_every_default_and_adds_fields_only_to_its_own_groups(path, variant):
    module = load_module(path)
    recipe = module.get_config(variant) if variant else module.get_config()
    fields, standard = flatten(recipe), flatten(defaults())
    for field, value in standard.items():
        assert type(fields[field]) is type(value)
    for field in fields.keys() - standard.keys():
        assert field.startswith(OWN), field


def test_every_default_has_a_comment_and_a_row_on_the_page():
    comments, text = comments_of(defaults), PAGE.read_text()
    for field in flatten(defaults()):
        assert comments[field]
        assert f"| `{field}` |" in text


def test_page_of_the_configuration_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m tests.configuration_page"
