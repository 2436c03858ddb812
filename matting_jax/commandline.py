"""The command line; invalid values raise an error that suggests the closest valid one."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict

import matting_jax
from matting_jax import addresses, allocator, peers
from matting_jax.caches import keep_compiled
from matting_jax.choices import one_of
from matting_jax.config import (
    SYNONYMS,
    defaults,
    flatten,
    load_config,
    override,
    read_config,
    split_variant,
)
from matting_jax.flags import FLAGS, MODES, REQUIRED, define_flags
from matting_jax.messages import configure_logging
from matting_jax.stopping import Stopped, end_with, keep_from_interrupts, watch_signals

USAGE = """Image matting: train, evaluate, predict, convert, export, benchmark, sweep.

Cut out photos with a published network, which is downloaded once:
  matting_jax predict --input photos/ --output cutouts/ \\
      --checkpoint pp_matting:human_512

Train on the embedded data set, score the run, and use it:
  matting_jax --config modnet
  matting_jax evaluate --workdir runs/modnet
  matting_jax predict --workdir runs/modnet --input photos/ --output out/
  matting_jax convert --workdir runs/modnet --output modnet.ckpt
  matting_jax export --workdir runs/modnet --output modnet.onnx

Networks with a second input:
  matting_jax predict --workdir runs/gca --trimap trimaps/ \\
      --input photos/ --output out/
  matting_jax predict --workdir runs/bgmv2 --background empty.jpg \\
      --input frames/ --output out/

Any field of a config can be set: --config.batch_size=4. All flags: --help.
"""
# Folders of alphas from any tool and of what belongs to them.
COMPARED = ("predictions", "truths", "trimaps", "photos")
FOLDERS = (*COMPARED, "backgrounds")
# Seconds that a process of a job waits for others that predict or evaluate larger photos.
PATIENT = {"shutdown_timeout_seconds": 7 * 24 * 3600}
KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
# Fields of the rule by which --trimap_from makes trimaps, and their flags.
TRIMAP_RULE = {"head": "trimap_head", "sure": "trimap_sure", "margin": "trimap_margin"}


def parse(argv: Sequence[str]) -> flags.FlagValues:
    """Returns the flags of a command line, with `workdir` as the folder of the run.

    `config` is a ConfigDict with its overrides, `sweep` a Sweep; with --predictions there is
    neither. Raises ValueError or FileNotFoundError for what does not fit together.
    """
    values = define_flags()
    arguments, overrides = split_overrides(mode_first(argv[1:]))
    parse_flags(values, [argv[0], *arguments])
    if values.help or values.version:
        return values
    one_of(values.mode, MODES, "mode")
    for flag in FLAGS:
        if flag.type is Path and values[flag.name].value:
            values[flag.name].value = os.path.expanduser(values[flag.name].value)
            addresses.check_flag(flag.name, values[flag.name].value)
    check_flags(values)
    check_folders(values, overrides)
    if values.predictions:
        return values
    if values.mode == "sweep":
        from matting_jax.training.sweep_file import read_sweep  # JAX is slow to import

        folder = Path(values.workdir or Path("runs") / "sweeps" / Path(values.sweep).stem)
        values.workdir = str(folder)
        values["sweep"].value = read_sweep(Path(values.sweep), folder, overrides, values.seeds)
        return values
    config, values.workdir = find_config(values)
    values["config"].value = override(config, overrides)
    addresses.check_fields(values.config)
    return values


def find_config(values: flags.FlagValues) -> tuple[ConfigDict, str]:
    """Returns the config that the flags name, without overrides, and the folder of its run.

    Without --config the config is that of --workdir, without both that of --checkpoint.
    """
    if values.config:
        addresses.check_flag("config", values.config)
        path, variant = split_variant(values.config)
        name = f"{path.stem}_{variant}" if variant else path.stem
        return load_config(path, variant), values.workdir or str(Path("runs") / name)
    if values.workdir:
        return read_config(Path(values.workdir)), values.workdir
    if values.checkpoint:
        config, is_run = config_of_checkpoint(values.checkpoint), Path(values.checkpoint).is_dir()
        return config, values.checkpoint if is_run else str(Path("runs") / config.name)
    raise ValueError(
        "give --config FILE to train, or --workdir of a run or a --checkpoint to use; --help has "
        "examples"
    )


def config_of_checkpoint(source: str) -> ConfigDict:
    """Returns the config that belongs to a workdir or a file of weights."""
    if Path(source).is_dir():
        return read_config(Path(source))
    from matting_jax.convert.identify import find_identity  # JAX is slow to import
    from matting_jax.convert.identity import config_of

    return config_of(find_identity(source))


def mode_first(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with a mode in the first place as --mode=MODE.

    Raises ValueError for an unknown mode there, and for a second mode.
    """
    if not arguments or arguments[0].startswith("-"):
        return list(arguments)
    mode, *others = arguments
    one_of(mode, MODES, "mode")
    if any(x == "--mode" or x.startswith("--mode=") for x in others):
        raise ValueError(f"the mode is given twice, as {mode!r} and by --mode: omit one")
    return [f"--mode={mode}", *others]


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the other arguments, and the fields of the config as --config.FIELD=VALUE.

    The value of a field may also be the next argument.
    """
    others, overrides, left = [], [], list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith(("--config.", "--noconfig.")):
            others.append(argument)
            continue
        takes_next = argument.startswith("--config.") and "=" not in argument
        if takes_next and left and not left[0].startswith("--"):
            argument += f"={left.pop(0)}"
        overrides.append(argument)
    return others, overrides


def parse_flags(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Sets `values` from a command line without fields of the config."""
    try:
        rest = values(argv)
    except flags.UnrecognizedFlagError as error:
        fields = {name: f"config.{name}" for name in flatten(defaults()) if "." not in name}
        fields |= {word: f"config.{field}" for word, field in SYNONYMS.items()}
        one_of(error.flagname, list(values), "flag", fields)
        raise
    except flags.IllegalFlagValueError as error:
        raise ValueError(explain_value(str(error))) from error
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if len(rest) > 1:
        remedy = "flags begin with --"
        if Path(rest[1]).exists():  # one of the files that a shell put in the place of a pattern
            remedy = 'put a pattern in quotes, such as --input "photos/*.jpg"'
        raise ValueError(f"unexpected argument {rest[1]!r}: {remedy}")


def explain_value(message: str) -> str:
    """Returns absl's message for a value of a wrong type as one of a user's words."""
    kinds = {flag.name: KINDS[flag.type] for flag in FLAGS if flag.type in KINDS}
    match = re.match(r"flag --(\w+)=(.*?): ", message)
    if match is None or match[1] not in kinds:
        return message
    return f"--{match[1]} must be {kinds[match[1]]}, got {match[2]!r}"


def check_flags(values: flags.FlagValues) -> None:
    """Raises ValueError for a flag that the mode does not read, and for one that is missing."""
    for flag in FLAGS:
        if values[flag.name].present and values.mode not in flag.modes:
            modes = " or ".join(flag.modes)
            raise ValueError(f"--{flag.name} is for --mode {modes}, not {values.mode}")
    needed = REQUIRED.get(values.mode, ())
    if not all(values[name].value for name in needed):
        raise ValueError(f"--mode {values.mode} needs {' and '.join(f'--{x}' for x in needed)}")
    if values.overwrite and values.existing not in (None, "overwrite"):
        raise ValueError(f"--existing {values.existing} contradicts --overwrite: give one of them")
    for name in TRIMAP_RULE.values():
        if values[name].present and not values.trimap_from:
            raise ValueError(f"--{name} is for --trimap_from WORKDIR: give both")


def check_folders(values: flags.FlagValues, overrides: Sequence[str]) -> None:
    """Raises ValueError if folders to evaluate are incomplete, or are given with a network."""
    if not any(values[name].present for name in FOLDERS):
        return
    if values.predictions:
        if not values.truths:
            raise ValueError("--predictions DIR and --truths DIR belong together: give both")
        names = (*"config workdir checkpoint save shard backgrounds trimap_from".split(),)
        unused = [f"--{name}" for name in names if values[name].present] + list(overrides)
        if unused:
            raise ValueError(f"--predictions needs no network: omit {unused[0].partition('=')[0]}")
    elif not values.photos or not values.truths:
        raise ValueError(
            "to score alphas give --predictions DIR and --truths DIR, to score a network "
            "--photos DIR and --truths DIR"
        )


def command() -> NoReturn:
    """Runs the installed command `matting_jax`, and ends the process."""
    launch(["matting_jax", *sys.argv[1:]], USAGE)


def launch(argv: Sequence[str], usage: str) -> NoReturn:
    """Runs `main` and ends the process with its exit code; a second signal ends it immediately."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr, for names that are not UTF-8
    watch_signals(Path(argv[0]).name)
    end_with(lambda: main(argv, usage))


def main(argv: Sequence[str], usage: str) -> int:
    """Runs the program that the flags name, and returns the exit code.

    It is 0, 2 for wrong arguments, 1 for other errors, and 128 + N for a run stopped by signal N.
    """
    configure_logging()
    program = Path(argv[0]).name
    try:
        values = parse(argv)
        if values.version:
            print(f"matting_jax {matting_jax.__version__}")
            return 0
        if values.help:
            show(usage, values.get_help())
            return 0
        return run(values) or 0
    except Stopped as stopped:
        keep_from_interrupts()
        print(f"{program}: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        keep_from_interrupts()
        peers.fail(settle=0)
        print(f"{program}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        peers.fail()
        if any(x == "--debug" or x.lower() in ("--debug=true", "--debug=1") for x in argv):
            raise
        if missing := missing_field(error):
            error = ValueError(
                f"the config lacks the field {missing}, which its network, task or crop rule "
                "needs: add it, as the recipes in configs/ do"
            )
        print(f"{program}: {error} (--debug shows the traceback)", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OSError | ImportError) else 1


def show(*texts: str) -> None:
    """Prints texts, all or as many as the reader wants: `head` closes the pipe before their end."""
    try:
        print(*texts, sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would fail too


def missing_field(error: Exception) -> str:
    """Returns the field of a config that was read, but does not exist; "" for another error."""
    if not isinstance(error, AttributeError | KeyError):
        return ""
    *_, last = traceback.extract_tb(error.__traceback__)
    is_config = Path(last.filename).parent.name == "config_dict"
    return str(error.args[0]).partition("\n")[0].strip('"') if is_config else ""


def run(values: flags.FlagValues) -> int | None:
    """Runs the program of `--mode`, imported only after the allocator is configured."""
    if values.predictions:
        from matting_jax.evaluation.compare import compare

        compare(
            *(values[name].value for name in COMPARED),
            values.output,
            convention=values.convention,
            overwrite=values.overwrite,
        )
        return None
    if values.mode == "sweep":
        from matting_jax.training.sweep import run_sweep

        return run_sweep(values["sweep"].value, Path(values.workdir), values.cluster)
    config, workdir = values.config, Path(values.workdir)
    rule = {field: values[x].value for field, x in TRIMAP_RULE.items() if values[x].present}
    if config.allocator and allocator.runs_on_cpu():
        allocator.keep_freed_memory()
    if config.compilation_cache and values.mode != "benchmark":  # which measures compilation
        keep_compiled(config.compilation_cache)
    from matting_jax.tasks import check_config  # imports JAX

    check_config(config)
    match values.mode:
        case "train":
            from matting_jax import parallel
            from matting_jax.training.train import train

            parallel.start()
            train(config, workdir)
        case "evaluate":
            from matting_jax import parallel
            from matting_jax.evaluation.evaluate import Options, evaluate

            parallel.start(**PATIENT)
            options = Options(
                folders={x: values[x].value for x in FOLDERS if values[x].value},
                trimap_from=values.trimap_from,
                trimap_rule=rule,
                convention=values.convention,
                save=values.save,
                shard=values.shard,
                size_step=values.size_step,
                overwrite=values.overwrite,
            )
            evaluate(config, workdir, values.checkpoint, values.output, options)
        case "predict" if is_clip(values):
            from matting_jax.prediction.video.program import Options, predict_clip

            options = Options(trimap_rule=rule, **{x: values[x].value for x in Options.flags()})
            source = values.checkpoint or workdir
            return predict_clip(config, source, values.input, values.output, options)
        case "predict":
            from matting_jax import parallel
            from matting_jax.prediction.predict import Options, predict

            parallel.start(**PATIENT)
            options = Options(
                trimap=values.trimap,
                background=values.background,
                align=values.align,
                trimap_from=values.trimap_from,
                trimap_rule=rule,
                foreground=values.foreground,
                bits=values.bits,
                shard=values.shard,
                size_step=values.size_step,
                existing=values.existing or ("overwrite" if values.overwrite else "error"),
            )
            source = values.checkpoint or workdir
            return predict(config, source, values.input, values.output, options)
        case "convert":
            from matting_jax.convert.program import convert

            convert(config, values.checkpoint or workdir, values.output, values.overwrite)
        case "benchmark":
            from matting_jax.benchmark.network import Options, benchmark

            options = Options(size=values.size, batch=values.batch, overwrite=values.overwrite)
            benchmark(config, values.output, options)
        case "export":
            from matting_jax.export.formats import Options
            from matting_jax.export.program import export
            from matting_jax.prediction.load import load_matter

            names = ("size", "rule", "platform", "weights", "overwrite")
            options = Options(**{name: values[name].value for name in names})
            source = values.checkpoint or workdir
            matter = load_matter(config, source)
            weights = matter.model, matter.variables, matter.options
            export(*weights, source, values.output, options)
    return None


def is_clip(values: flags.FlagValues) -> bool:
    """Returns whether --input is a clip; raises ValueError for flags of the other kind of input."""
    from matting_jax.prediction.video.outputs import asks_for_a_clip

    given = [flag.name for flag in FLAGS if values[flag.name].present]
    return asks_for_a_clip(values.input, values.output, values.video, given)
