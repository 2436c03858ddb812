import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from matting_jax.config import flatten, read_config
from matting_jax.models import create_model
from matting_jax.tasks import find_task
from matting_jax.workdir.claim import FREE, claim, claim_alone
from tests.helpers import ROOT


def test_config_returns_from_its_workdir_unchanged(config, tmp_path):
    claim(tmp_path / "run", config)
    again = read_config(tmp_path / "run")
    assert again == config
    assert again.data.crop.rescale == config.data.crop.rescale
    assert isinstance(again.data.crop.rescale, tuple)
    assert isinstance(again.optimizer.eps, float) and isinstance(again.steps, int)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json"}


def test_free_fields_are_fields_of_the_config_and_may_change(config, tmp_path):
    claim(tmp_path, config)
    assert set(FREE) <= flatten(config).keys()
    assert "steps" in FREE and "seed" not in FREE and "batch_size" not in FREE
    config.update_from_flattened_dict({"steps": 999, "data.workers": 1, "log_every": 7})
    claim(tmp_path, config)
    assert read_config(tmp_path) == config


def test_other_fields_may_not_change_and_each_is_listed(config, tmp_path):
    claim(tmp_path, config)
    kept = (tmp_path / "config.json").read_text()
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    values = {"optimizer.schedule.name": "cosine", "data.crop.size": 96, "ema_decay": 0.5}
    old = {field: flatten(config)[field] for field in values}
    config.update_from_flattened_dict(values)
    config.steps += 1
    with pytest.raises(ValueError) as error:
        claim(tmp_path, config)
    lines = str(error.value).splitlines()[1:]
    assert sorted(line.strip() for line in lines) == sorted(
        f"{field} is {old[field]!r} there, {value!r} here" for field, value in values.items()
    )
    assert (tmp_path / "config.json").read_text() == kept


def test_field_that_is_missing_in_one_config_is_listed(config, tmp_path):
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["test_time"]["reference_size"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="test_time.reference_size is None there, 32 here"):
        claim(tmp_path, config)


def test_keyword_that_an_older_run_lacks_has_the_default_of_the_network(config, tmp_path):
    assert "form" not in config.model
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    config.model.form = "lax"
    with pytest.raises(ValueError, match="model.form is 'auto' there, 'lax' here"):
        claim(tmp_path, config)
    config.model.form = create_model(config.name).form
    claim(tmp_path, config)


def test_field_that_was_added_to_a_task_has_the_value_of_older_runs(config, tmp_path, monkeypatch):
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    task = replace(find_task(config.task.name), added={"task.kind": "old"})
    monkeypatch.setattr("matting_jax.workdir.claim.find_task", lambda name: task)
    config.task.kind = "new"
    with pytest.raises(ValueError, match="task.kind is 'old' there, 'new' here"):
        claim(tmp_path, config)
    config.task.kind = "old"
    claim(tmp_path, config)


def test_folder_that_holds_something_else_raises(config, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        claim(tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("address", ["gs://bucket/runs/one", "s3://bucket"])
def test_address_is_refused_instead_of_becoming_a_local_folder(
    config, tmp_path, monkeypatch, address
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"must be a local folder, got {address}: train in"):
        claim(Path(address), config)
    assert not list(tmp_path.iterdir())
    claim(Path("a:b/run"), config)  # an ordinary name


def test_folder_without_a_config_is_no_workdir(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a workdir"):
        read_config(tmp_path)


def test_fields_are_flat_under_dotted_names(config):
    fields = flatten(config)
    assert fields["optimizer.schedule.name"] == config.optimizer.schedule.name
    assert fields["seed"] == config.seed and "optimizer" not in fields


def test_run_that_ended_before_its_first_checkpoint_may_be_corrected(config, tmp_path):
    claim(tmp_path, config)
    config.seed += 1
    claim(tmp_path, config)
    assert read_config(tmp_path) == config


def test_run_that_was_killed_while_writing_its_config_restarts(config, tmp_path):
    (tmp_path / ".0123456789abcdef.json").write_text("{")
    claim(tmp_path, config)
    assert read_config(tmp_path) == config


def test_damaged_checkpoints_are_not_mixed_with_those_of_another_config(config, tmp_path):
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "damaged_10").mkdir(parents=True)
    config.seed += 1
    with pytest.raises(ValueError, match="holds a run of another config"):
        claim(tmp_path, config)


HOLD = """
import sys, time
from pathlib import Path
from matting_jax.config import read_config
from matting_jax.workdir.claim import claim_alone
from tests.tiny import register_tiny
register_tiny()
workdir = Path(sys.argv[1])
with claim_alone(workdir, read_config(workdir)):
    print("claimed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(config, tmp_path):
    """Another process that has claimed the workdir tmp_path / "run"."""
    claim(tmp_path / "run", config)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "claimed\n"
        yield program
        program.kill()


def test_second_program_is_refused_until_the_first_dies(config, holder, tmp_path):
    run, kept = tmp_path / "run", (tmp_path / "run" / "config.json").read_text()
    config.steps += 1
    with pytest.raises(ValueError) as error, claim_alone(run, config):
        pass
    message = str(error.value)
    assert f"another program is training in {run}" in message and "\n" not in message
    assert (run / "config.json").read_text() == kept
    holder.kill()
    holder.wait()
    with claim_alone(run, config):
        assert read_config(run) == config


def test_claim_ends_with_its_block_also_by_an_error(config, tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError), claim_alone(tmp_path / "run", config):
            raise RuntimeError
    with (
        claim_alone(tmp_path / "run", config),
        pytest.raises(ValueError, match="another program"),
        claim_alone(tmp_path / "run", config),
    ):
        pass


def test_refused_folder_stays_as_it_is(config, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds no run"), claim_alone(tmp_path, config):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
