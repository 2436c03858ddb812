"""The flags of launch.py, and a sentence with the nearest valid choice for each wrong one."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import absl.logging
from absl import flags
from ml_collections import ConfigDict

from matting_jax import allocator
from matting_jax.choices import one_of
from matting_jax.config import load_config, override, read_config, split_variant
from matting_jax.training.stopping import Stopped

COMPARED = ("predictions", "truths", "trimaps", "photos")  # folders of alphas from another tool
FOLDERS = (*COMPARED, "backgrounds")
# A network that makes the trimaps of another, and the fields of its rule.
RULE = {"head": "trimap_head", "sure": "trimap_sure", "margin": "trimap_margin"}
CHAIN = ("trimap_from", *RULE.values())
# mode: the flags that it reads beside --config, --workdir and --debug
MODES = {
    "train": (),
    "evaluate": (
        "checkpoint",
        "save",
        "predictions",
        "truths",
        "trimaps",
        "photos",
        "backgrounds",
        "convention",
        "output",
        "overwrite",
        *CHAIN,
    ),
    "predict": (
        "checkpoint",
        "input",
        "output",
        "trimap",
        "background",
        "align",
        "foreground",
        "bits",
        "overwrite",
        *CHAIN,
    ),
    "convert": ("checkpoint", "output", "overwrite"),
}


def define_flags() -> flags.FlagValues:
    """All flags but the fields of the config."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "config",
        None,
        "config file, or FILE:VARIANT; its fields: --config.FIELD=VALUE",
        flag_values=values,
    )
    for name, default, text in (
        ("mode", "train", ", ".join(MODES)),
        ("workdir", None, "folder of the run; default: runs/NAME or runs/NAME_VARIANT"),
        ("checkpoint", None, "official checkpoint file to use in place of the workdir's"),
        ("input", None, "predict: a photo, a folder or a glob of photos"),
        ("trimap", None, "predict: the photo's trimap, or a folder of trimaps of the same names"),
        ("trimap_from", None, "predict, evaluate: workdir of a network that makes the trimaps"),
        ("trimap_head", None, "the output of --trimap_from that they are made of"),
        ("background", None, "predict: the empty background, or a folder of those of each photo"),
        ("predictions", None, "evaluate: folder of alphas of any tool, in place of a network's"),
        ("truths", None, "evaluate: folder of their true alphas, of the same names"),
        ("trimaps", None, "evaluate: folder of their trimaps, to score the unknown region as well"),
        ("photos", None, "evaluate: folder of their photos, for the network, or to be shown"),
        ("backgrounds", None, "evaluate: folder of their empty backgrounds, for the network"),
        ("convention", "matlab", "evaluate: whose metrics, matlab is the Composition-1k benchmark"),
        ("output", None, "predict, evaluate: folder for the results; convert: file to write"),
        ("foreground", "multilevel", "predict: colours of the cut-out, multilevel, blur or none"),
    ):
        flags.DEFINE_string(name, default, text, flag_values=values)
    flags.DEFINE_integer(
        "bits",
        8,
        "predict: bits of the grey values of alphas, 8 or 16; cut-outs always have 8",
        flag_values=values,
    )
    for name, text in (
        ("trimap_sure", "what it must at least say of a pixel that counts as known"),
        ("trimap_margin", "share of the photo's longer side that joins the unknown around it"),
    ):
        flags.DEFINE_float(name, None, text, flag_values=values)
    for name, text in (
        ("align", "predict: move the background to where the photo's camera saw it"),
        ("save", "evaluate: keep the alphas as well"),
        ("overwrite", "replace results that exist"),
        ("debug", "show the traceback of an error"),
        ("help", "show this help"),
    ):
        flags.DEFINE_bool(name, False, text, flag_values=values)
    return values


def parse(argv: Sequence[str]) -> flags.FlagValues:
    """The flags of a command line, `config` as a ConfigDict with its overrides.

    Without --config the config is that of --workdir; with --predictions there is none. Raises
    ValueError or FileNotFoundError in a sentence that names the nearest valid choice.
    """
    values = define_flags()
    overrides = parse_known(values, argv)
    if values.help:
        return values
    one_of(values.mode, MODES, "mode")
    paths = ("workdir", "checkpoint", "input", "output", "trimap", "trimap_from", "background")
    for name in (*paths, *FOLDERS):
        if values[name].value:
            values[name].value = os.path.expanduser(values[name].value)
    for name in {name for names in MODES.values() for name in names} - {*MODES[values.mode]}:
        if values[name].present:
            modes = [mode for mode, names in MODES.items() if name in names]
            raise ValueError(f"--{name} is for --mode {' or '.join(modes)}, not {values.mode}")
    for name in RULE.values():
        if values[name].present and not values.trimap_from:
            raise ValueError(f"--{name} is for --trimap_from WORKDIR: give both")
    if any(values[name].present for name in FOLDERS) and needs_no_network(values, overrides):
        return values
    if values.config:
        path, variant = split_variant(values.config)
        config = load_config(path, variant)
        default = Path("runs") / "_".join([path.stem] + [variant] * bool(variant))
        values.workdir = values.workdir or str(default)
    elif values.workdir:
        config = read_config(Path(values.workdir))
    else:
        raise ValueError("give --config FILE, or --workdir of an earlier run")
    values["config"].value = override(config, overrides)
    return values


def needs_no_network(values: flags.FlagValues, overrides: Sequence[str]) -> bool:
    """Whether the folders to evaluate hold alphas already; ValueError where they do not fit."""
    if not values.predictions:
        if not values.photos or not values.truths:
            raise ValueError(
                "to score alphas give --predictions DIR and --truths DIR, to score a network "
                "--photos DIR and --truths DIR"
            )
        return False
    if not values.truths:
        raise ValueError("--predictions DIR and --truths DIR belong together: give both")
    names = ("config", "workdir", "checkpoint", "save", "backgrounds", "trimap_from")
    network = [f"--{name}" for name in names if values[name].present]
    for flag in (*network, *overrides):
        raise ValueError(f"--predictions needs no network: leave out {flag.partition('=')[0]}")
    return True


def parse_known(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Parse all flags but the fields of the config, which are returned."""
    ours, fields = [argv[0]], []
    arguments = iter(argv[1:])
    while (argument := next(arguments, None)) is not None:
        if argument.startswith(("--config.", "--noconfig.")):
            fields.append(argument)
            # --config.field value: the value is the next argument, unless it is a flag itself.
            if "=" not in argument and argument.startswith("--config."):
                following = next(arguments, None)
                if following is not None and following.startswith("--"):
                    arguments = itertools.chain([following], arguments)
                elif following is not None:
                    fields[-1] += f"={following}"
        else:
            ours.append(argument)
    try:
        rest = values(ours)
    except flags.UnrecognizedFlagError as error:
        one_of(error.flagname, list(values), "flag")
        raise
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if len(rest) > 1:
        raise ValueError(f"unexpected argument {rest[1]!r}: flags begin with --")
    return fields


def main(argv: Sequence[str], usage: str) -> int:
    """Run the program that the flags name; the exit code: 0, 2 for wrong arguments, 1 otherwise.

    A run that a signal stopped has that of the signal, 128 + its number.
    """
    try:
        values = parse(argv)
        if values.help:
            print(usage, values.get_help(), sep="\n")
            return 0
        return run(values) or 0
    except Stopped as stopped:
        print(f"launch.py: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print("launch.py: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if any(x == "--debug" or x.lower() in ("--debug=true", "--debug=1") for x in argv):
            raise
        print(f"launch.py: {error} (--debug shows where)", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OSError | ImportError) else 1


def run(values: flags.FlagValues) -> int | None:
    """The program of `--mode`; what it imports is imported once the allocator is set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax and TFDS report each of their steps
    logging.getLogger("matting_jax").setLevel(logging.INFO)
    # What Pillow warns of is read all the same, or said in the sentence of the error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if values.predictions:
        from matting_jax.evaluation.compare import compare

        compare(
            *(values[name].value for name in COMPARED),
            values.output,
            convention=values.convention,
            overwrite=values.overwrite,
        )
        return None
    config, workdir = values.config, Path(values.workdir)
    rule = {field: values[name].value for field, name in RULE.items() if values[name].present}
    if config.allocator and allocator.runs_on_cpu():
        allocator.keep_freed_memory()
    keep_compiled(config)
    match values.mode:
        case "train":
            from matting_jax import parallel
            from matting_jax.training.train import train

            parallel.start()
            train(config, workdir)
        case "evaluate":
            from matting_jax.evaluation.evaluate import evaluate

            evaluate(
                config,
                workdir,
                values.checkpoint,
                values.output,
                folders={x: values[x].value for x in FOLDERS if values[x].value},
                trimap_from=values.trimap_from,
                trimap_rule=rule,
                convention=values.convention,
                save=values.save,
                overwrite=values.overwrite,
            )
        case "predict":
            from matting_jax.prediction.predict import predict

            return predict(
                config,
                values.checkpoint or workdir,
                values.input,
                values.output,
                trimap=values.trimap,
                background=values.background,
                align=values.align,
                trimap_from=values.trimap_from,
                trimap_rule=rule,
                foreground=values.foreground,
                bits=values.bits,
                overwrite=values.overwrite,
            )
        case "convert":
            from matting_jax.convert.program import convert

            convert(config, values.checkpoint or workdir, values.output, values.overwrite)
    return None


def keep_compiled(config: ConfigDict) -> None:
    """Let JAX keep what XLA compiles for the next run."""
    import jax

    if config.compilation_cache:
        folder = Path(config.compilation_cache).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
