"""Shares of an evaluation give the report of one process."""

import json
from functools import partial

import numpy as np
import pytest

from matting_jax.commandline import main
from matting_jax.evaluation.evaluate import Options, evaluate
from matting_jax.evaluation.scores import Case
from matting_jax.evaluation.shares import Shares, identify, measure_share
from matting_jax.prediction.shards import Shard
from tests.processes import EIGHT, job_of_two, start


def contents(folder):
    return {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def test_shares_in_any_order_give_the_report_of_one(finished, tmp_path, capsys):
    workdir, config, _ = finished
    means = evaluate(config, workdir, output=str(tmp_path / "one"), options=Options(save=True))
    expected = contents(tmp_path / "one")
    assert {"scores.csv", "index.html", "alphas/a.png", "alphas/c.png"} <= expected.keys()
    output = tmp_path / "shares"

    def share(number):
        options = Options(save=True, shard=f"{number}/4")
        return evaluate(config, workdir, output=str(output), options=options)

    for number in (4, 1, 3, 1):  # of three images the first share has none, and comes again
        share(number)
        assert not output.exists()
        assert f"share {number}/4 is measured" in capsys.readouterr().out
    assert share(2) == means
    assert contents(output) == expected
    assert "3 images" in capsys.readouterr().out
    assert sorted(x.name for x in tmp_path.iterdir()) == ["one", "shares"]


def test_shares_of_other_weights_or_settings_are_not_mixed(tmp_path):
    def share(number, identity):
        case = Case(f"{number}", np.zeros((8, 8)), np.full((8, 8), number / 4))
        measure_share(
            [(number, partial(Case, *vars(case).values()))],
            1,
            "title",
            "matlab",
            save=False,
            shares=Shares(tmp_path / "report", Shard(number, 2), identity),
        )

    weights = {"a": np.ones(3, np.float32)}
    first, second = identify(weights, {"x": 1}), identify(weights, {"x": 2})
    assert first == identify(weights, {"x": 1}) != identify({"a": 2 * weights["a"]}, {"x": 1})
    share(0, first)
    share(1, second)
    assert not (tmp_path / "report").exists()
    share(1, first)
    assert (tmp_path / "report" / "scores.csv").read_text().count("\n") == 4
    (left,) = (tmp_path / "report_shares").iterdir()
    assert json.loads((left / "1" / "rows.json").read_text())[0][0] == 1


def test_share_needs_a_network_with_alphas(tmp_path, capsys):
    folders = ["--predictions=a", "--truths=b"]
    assert main(["launch.py", "--mode=evaluate", *folders, "--shard=1/2"], "") == 2
    assert "--predictions needs no network: omit --shard" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_and_devices_give_the_scores_of_one(finished, tmp_path):
    workdir, _, _ = finished

    def evaluate(name, **variables):
        flags = ["--mode=evaluate", "--save", f"--workdir={workdir}", f"--output={tmp_path / name}"]
        return start(flags, **variables)

    programs = [evaluate("one"), evaluate("eight", **EIGHT)]
    programs += [evaluate("two", **variables) for variables in job_of_two()]
    texts = ["".join(program.communicate(timeout=300)) for program in programs]
    assert [program.returncode for program in programs] == [0] * 4, texts
    assert sum("scores.csv" in text for text in texts[2:]) == 1
    one = contents(tmp_path / "one")
    assert contents(tmp_path / "eight") == one and contents(tmp_path / "two") == one
