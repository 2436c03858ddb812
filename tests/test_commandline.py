import importlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import matting_jax
from matting_jax import commandline
from matting_jax.commandline import configure_logging, main
from matting_jax.config import flatten, load_config
from matting_jax.convert.identity import Identity, write_weights
from matting_jax.evaluation import evaluate
from matting_jax.flags import FLAGS
from matting_jax.prediction import predict
from matting_jax.workdir.claim import claim
from tests.commands import BASE, parsed
from tests.helpers import MODNET, ROOT
from tests.tiny import tiny_config


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--confg=x"], ["'confg'", "'config'"]),
        ([BASE, "--wrokdir=x"], ["'wrokdir'", "'workdir'"]),
        ([BASE, "--config.batchsize=4"], ["'batchsize'", "'batch_size'"]),
        ([BASE, "--config.batchsize", "4"], ["'batchsize'", "'batch_size'"]),
        ([BASE, "--config.optimizer.lerning_rate=1"], ["'optimizer.learning_rate'"]),
        ([BASE, "--config.model.contxt=se"], ["'model.context'"]),
        ([BASE, "--config.optimizer.lr=1"], ["'optimizer.learning_rate'"]),
        ([BASE, "--config.LR=1"], ["'optimizer.learning_rate'"]),
        ([BASE, "--config.optimizer=adam"], ["'optimizer.name'"]),
        ([BASE, "--config.optimizer.wd=1"], ["'optimizer.weight_decay'"]),
        ([BASE, "--config.bs=4"], ["'batch_size'"]),
        ([BASE, "--config.train.epochs=4"], ["'steps'"]),
        ([BASE, "--lr=1"], ["'config.optimizer.learning_rate'"]),
        ([BASE, "--batch_size=4"], ["'config.batch_size'"]),
        ([BASE, "--config.optimizer=sgd"], ["optimizer"]),
        ([BASE, "--mode=trian"], ["'trian'", "'train'"]),
        ([BASE, "--mode=eval"], ["'evaluate'"]),
        ([BASE, "--size_step=x"], ["--size_step must be a whole number, got 'x'"]),
        ([BASE, "--trimap_sure", "much"], ["--trimap_sure must be a number, got 'much'"]),
        ([BASE, "--save=maybe"], ["--save must be true or false, got 'maybe'"]),
        (["predcit", BASE], ["'predcit'", "'predict'"]),
        (["train", BASE, "--mode=train"], ["twice", "--mode"]),
        ([BASE, "photo.nowhere"], ["unexpected argument 'photo.nowhere'", "begin with --"]),
        ([BASE, str(MODNET)], [f"unexpected argument '{MODNET}'", "a pattern in quotes"]),
        (["--config=modnett"], ["'modnett'", "'modnet'"]),
        ([f"{BASE}:offical"], ["'offical'", "'official'"]),
        ([f"--config={MODNET.parent / 'modnt.py'}"], ["modnt.py", f"'{MODNET}'"]),
        (["--config=nowhere/modnet.py"], ["nowhere/modnet.py"]),
        ([f"--config={ROOT / 'README.md'}"], ["README.md is not a Python file"]),
        ([f"--config={MODNET.parent}"], [str(MODNET.parent)]),
        (["--config=gs://bucket/a.py"], ["--config must be a local file", "gs://bucket/a.py"]),
        ([BASE, "--workdir=gs://bucket/run"], ["--workdir must be a local", "gs://bucket/run"]),
        (
            [BASE, "--mode=convert", "--output=x", "--checkpoint=gs://bucket/run"],
            ["--checkpoint must be a local", "http, https or hf, got gs://bucket/run"],
        ),
        (
            [BASE, "--config.init.backbone=s3://bucket/x.pth"],
            ["--config.init.backbone must be a local", "got s3://bucket/x.pth"],
        ),
        (
            [BASE, "--config.data.directory=gs://bucket/tfds"],
            ["--config.data.directory must be a local file or folder, got gs://bucket/tfds"],
        ),
        (
            [BASE, "--config.data.train.foregrounds=gs://bucket/fg"],
            ["--config.data.train.foregrounds must be a local", "mount the bucket"],
        ),
        ([BASE, "--config.steps=many"], ["steps", "many"]),
        ([BASE, "--config.steps=2.5"], ["steps", "2.5"]),
        ([BASE, "--config.optimizer.learning_rate=fast"], ["learning_rate", "fast"]),
        ([BASE, "--config.data.skip_bad=perhaps"], ["skip_bad", "perhaps"]),
        ([BASE, "--config.synthesis.trimap_kernel=(1,x)"], ["trimap_kernel"]),
        ([BASE, "--config.synthesis.trimap_kernel=5"], ["trimap_kernel"]),
        ([BASE, "--config.steps"], ["--config.steps", "VALUE"]),
        ([BASE, "--config.steps", "--mode=train"], ["--config.steps", "VALUE"]),
        ([BASE, "--input=photos"], ["--input", "--mode predict"]),
        ([BASE, "--mode=predict", "--save"], ["--save", "--mode evaluate"]),
        ([BASE, "--output=x"], ["--output", "evaluate or predict or convert"]),
        ([BASE, "--truths=x"], ["--truths", "--mode evaluate"]),
        (["--mode=evaluate", "--predictions=x"], ["--predictions", "--truths", "both"]),
        ([BASE, "--mode=evaluate", "--trimaps=x"], ["--predictions DIR", "--photos DIR"]),
        (
            ["--mode=evaluate", "--predictions=x", "--truths=y", "--workdir=z"],
            ["no network", "omit --workdir"],
        ),
        (
            ["--mode=evaluate", "--predictions=x", "--truths=y", "--config.seed=4"],
            ["no network", "omit --config.seed"],
        ),
        ([BASE, "--checkpoint=x.pth"], ["--checkpoint"]),
        ([BASE, "stray"], ["'stray'"]),
        ([], ["--config", "--workdir"]),
        (["--workdir=nowhere"], ["nowhere", "is not a workdir"]),
    ],
)
def test_wrong_argument_is_reported_on_one_line_with_the_closest_choice(
    capsys, monkeypatch, arguments, words
):
    monkeypatch.setattr(commandline, "run", lambda values: 0)
    assert_refused(arguments, words, capsys)


def assert_refused(arguments, words, capsys):
    code = main(["launch.py", *arguments], "")
    text = capsys.readouterr()
    assert code == 2
    assert text.err.count("\n") == 1 and text.err.startswith("launch.py: ")
    assert "Traceback" not in text.err and text.out == ""
    for word in words:
        assert word in text.err


def test_first_word_is_the_mode_and_a_bare_name_is_a_recipe(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    short = parsed("evaluate", "--config", "modnet:paper")
    full = parsed("--mode=evaluate", f"{BASE}:paper")
    assert short.mode == full.mode == "evaluate"
    assert short.workdir == full.workdir == "runs/modnet_paper"
    assert flatten(short["config"].value) == flatten(full["config"].value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config.data.train.foregrounds=nowhere", "--config.data.train.backgrounds=nowhere"],
        ["--mode=evaluate", "--config.data.test.images=nowhere", "--checkpoint=x.pth"],
        ["--mode=predict", "--checkpoint=nowhere.pth", f"--input={ROOT}/README.md", "--output=x"],
        ["--mode=predict", "--input=nowhere", "--output=x"],
        ["--mode=convert", "--checkpoint=nowhere.pth", "--output=x.pth"],
        ["--mode=convert", "--workdir=nowhere", "--output=x.safetensors"],
    ],
)
def test_missing_file_is_reported_on_one_line(capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    assert_refused([BASE, "--config.allocator=False", *arguments], ["nowhere"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(ValueError, match="did you mean 'train'"):
        main(["launch.py", BASE, "--mode=trian", "--debug"], "")
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        main(["launch.py", "--debug=true", BASE, "--config.batchsize=4"], "")


def test_unexpected_error_exits_with_1(monkeypatch, capsys):
    def fail(values):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(commandline, "run", fail)
    assert main(["launch.py", BASE], "") == 1
    assert "division by zero" in capsys.readouterr().err


def test_interrupted_program_exits_with_130(monkeypatch, capsys):
    def stop(values):
        raise KeyboardInterrupt

    monkeypatch.setattr(commandline, "run", stop)
    assert main(["launch.py", BASE], "") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_help_shows_usage_and_every_flag(capsys):
    assert main(["launch.py", "--help"], "how to use it") == 0
    text = capsys.readouterr().out
    assert "how to use it" in text
    for flag in FLAGS:
        prefix = "--[no]" if flag.type is bool else "--"
        assert f"{prefix}{flag.name}: " in text


def test_help_may_be_read_in_part():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "launch.py"), "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variant", ["sample", "paper", "official", "paddle"])
def test_variant_follows_a_colon(variant):
    values = parsed(f"{BASE}:{variant}")
    expected = load_config(MODNET, variant)
    assert values.config.to_json() == expected.to_json()
    assert os.path.basename(values.workdir) == f"modnet_{variant}"


def test_variants_of_modnet_differ_in_their_loss_weights():
    paper, official = (parsed(f"{BASE}:{name}").config.task for name in ("paper", "official"))
    weights = [(t.semantic_weight, t.detail_weight, t.matte_weight) for t in (paper, official)]
    assert weights == [(1, 10, 1), (10, 10, 1)]


def test_workdir_is_named_after_the_config_unless_given():
    assert parsed(BASE).workdir == os.path.join("runs", "modnet")
    assert parsed(BASE, "--workdir=elsewhere").workdir == "elsewhere"


def test_config_comes_from_the_workdir_with_overrides(tmp_path):
    config = tiny_config()
    claim(tmp_path, config)
    values = parsed("--mode=evaluate", f"--workdir={tmp_path}", "--config.data.workers=1")
    config.data.workers = 1
    assert flatten(values.config) == flatten(config)


def test_version_is_shown(capsys):
    assert main(["launch.py", "--version"], "") == 0
    assert capsys.readouterr().out == f"matting_jax {matting_jax.__version__}\n"


def test_config_comes_from_the_checkpoint_alone(tmp_path):
    run, config = tmp_path / "run", tiny_config()
    claim(run, config)
    values = parsed("--mode=evaluate", f"--checkpoint={run}", "--config.data.workers=1")
    config.data.workers = 1
    assert flatten(values.config) == flatten(config) and values.workdir == str(run)
    file = tmp_path / "weights.safetensors"
    identity = Identity("modnet", {"context": "aspp"}, {"reference_size": 96})
    write_weights(file, {"a": np.zeros(1, np.float32)}, identity)
    arguments = ["--mode=predict", f"--checkpoint={file}", "--input=a", "--output=b"]
    values = parsed(*arguments, "--config.model.flavour=paddle")
    assert values.config.model.to_dict() == {"context": "aspp", "flavour": "paddle"}
    assert values.config.test_time.to_dict() == {"reference_size": 96}
    assert values.config.task.name == "modnet"
    assert values.workdir == os.path.join("runs", "modnet")
    values = parsed(*arguments, f"--config={MODNET}:official")
    assert values.config.test_time.reference_size == 512


def test_published_file_of_classes_predicts_as_its_recipe(monkeypatch, tmp_path):
    monkeypatch.setattr("matting_jax.convert.identify.locate", lambda _: tmp_path / "city.pth")
    start = ["--mode=predict", "--input=a", "--output=b"]
    found = flatten(parsed(*start, "--checkpoint=bisenet_v2:cityscapes").config)
    recipe = flatten(load_config(ROOT / "configs" / "bisenet_v2.py", "cityscapes"))
    read = ("name", "task.name", "task.labels", "task.evaluation", "task.window")
    read += ("data.train.dataset", "data.test.dataset", "data.test.split", "test_time.short_side")
    read += tuple(name for name in recipe if name.startswith("model."))
    assert {name: found[name] for name in read} == {name: recipe[name] for name in read}
    coco = parsed(*start, "--checkpoint=bisenet_v2:coco").config.model
    assert (coco.num_classes, coco.statistics) == (171, "coco")


def test_programs_are_called_with_their_flags(tmp_path, monkeypatch):
    claim(tmp_path, tiny_config())
    called = {}
    rooms = {
        "train": "training.train",
        "evaluate": "evaluation.evaluate",
        "predict": "prediction.predict",
        "convert": "convert.program",
    }
    for name, room in rooms.items():
        module = importlib.import_module(f"matting_jax.{room}")
        program = getattr(module, name)

        def record(config, *arguments, _name=name, **keywords):
            called[_name] = ((config.name, *arguments), keywords)

        monkeypatch.setattr(module, name, record)
        assert callable(program)
    start = ["launch.py", f"--workdir={tmp_path}"]
    assert main(start, "") == 0
    scored = "--mode=evaluate --save --checkpoint=x.pth --output=out --convention=gfm".split()
    folders = {"truths": "t", "trimaps": "m", "photos": "p", "backgrounds": "b"}
    scored += [f"--{name}={folder}" for name, folder in folders.items()]
    assert main([*start, *scored], "") == 0
    more = "--input=a --output=b --trimap=c --background=d --align --overwrite".split()
    more += ["--foreground=none", "--bits=16", "--trimap_from=w", "--trimap_sure=0.9"]
    assert main([*start, "--mode=predict", *more], "") == 0
    assert main([*start, "--mode=convert", "--output=c.pth", "--checkpoint=x.pth"], "") == 0
    assert called == {
        "train": (("tiny", tmp_path), {}),
        "evaluate": (
            (
                "tiny",
                tmp_path,
                "x.pth",
                "out",
                evaluate.Options(
                    folders=folders,
                    convention="gfm",
                    save=True,
                    overwrite=False,
                    trimap_from=None,
                    trimap_rule={},
                ),
            ),
            {},
        ),
        "predict": (
            (
                "tiny",
                tmp_path,
                "a",
                "b",
                predict.Options(
                    trimap="c",
                    background="d",
                    align=True,
                    foreground="none",
                    bits=16,
                    existing="overwrite",
                    trimap_from="w",
                    trimap_rule={"sure": 0.9},
                ),
            ),
            {},
        ),
        "convert": (("tiny", "x.pth", "c.pth", False), {}),
    }


def launch(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )


def test_launcher_reports_a_wrong_argument_on_one_line():
    done = launch("--config", "configs/modnet.py", "--mode=trian")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "did you mean 'train'" in done.stderr


@pytest.mark.slow
def test_modnet_trains_evaluates_and_predicts_from_the_launcher(folders, compiled_once, tmp_path):
    data = {
        "config.data.train.foregrounds": folders / "foregrounds",
        "config.data.train.backgrounds": folders / "backgrounds",
        "config.data.test.images": folders / "test",
        "config.data.cache": tmp_path / "cache",
        "config.compilation_cache": compiled_once,
        "config.data.crop.size": 32,
        "config.test_time.reference_size": 32,
        "config.batch_size": 2,
        "config.steps": 2,
        "config.optimizer.schedule.warmup_steps": 0,
    }
    run = tmp_path / "run"
    overrides = [f"--{name}={value}" for name, value in data.items()]
    done = launch("--config=configs/modnet.py", f"--workdir={run}", *overrides)
    assert done.returncode == 0, done.stderr
    assert "6,487,075 parameters" in done.stdout
    assert (run / "metrics.jsonl").is_file()
    assert len(list((run / "previews").iterdir())) == 2
    done = launch("--mode=evaluate", f"--workdir={run}")
    assert done.returncode == 0 and "3 images" in done.stdout, done.stderr
    photo = folders / "test" / "image" / "a.png"
    output = tmp_path / "out"
    done = launch("--mode=predict", f"--workdir={run}", f"--input={photo}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert sorted(x.name for x in output.glob("*.png")) == ["a_alpha.png", "a_cutout.png"]


def test_warning_is_shown_without_lines_of_code():
    configure_logging()
    shown = warnings.formatwarning("3 tensors differ", UserWarning, "x.py", 3, "code")
    assert shown == "3 tensors differ\n"
