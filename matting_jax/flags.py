"""The command-line flags in addition to the fields of the config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

MODES = ("train", "evaluate", "predict", "convert", "export", "benchmark", "sweep")
REQUIRED = {
    "predict": ("input", "output"),
    "convert": ("output",),
    "export": ("output",),
    "sweep": ("sweep",),
}


@dataclass(frozen=True)
class Flag:
    """A flag in addition to the fields of the config; `modes` are those that read it."""

    name: str
    help: str
    modes: tuple[str, ...] = MODES
    default: Any = None
    type: type = str  # str, Path (its ~ is expanded), int, float or bool


EVALUATE, PREDICT, BOTH = ("evaluate",), ("predict",), ("evaluate", "predict")
RESULTS, SWEEP = ("evaluate", "predict", "convert", "export"), ("sweep",)
EXPORT, BENCHMARK = ("export",), ("benchmark",)
FLAGS = (
    Flag("mode", ", ".join(MODES), default="train"),
    Flag("version", "show the version", default=False, type=bool),
    Flag(
        "config",
        "recipe: NAME or FILE, or with :VARIANT; its fields: --config.FIELD=VALUE",
        ("train", *RESULTS, *BENCHMARK),
    ),
    Flag("workdir", "folder of the run; default: runs/NAME or runs/NAME_VARIANT", type=Path),
    Flag(
        "checkpoint",
        "file, workdir, NETWORK:NAME of a published file, hf://OWNER/REPOSITORY/FILE or web "
        "address, instead of the workdir's checkpoint; without --config its own is used",
        RESULTS,
        type=Path,
    ),
    Flag("input", "photo, folder, glob pattern of photos, clip or camera:N", PREDICT, type=Path),
    Flag(
        "output",
        "folder of results, files of a clip; convert, export: file; benchmark: JSON file",
        (*RESULTS, *BENCHMARK),
        type=Path,
    ),
    Flag("video", "the folder or GIF file of --input is one clip", PREDICT, False, bool),
    Flag(
        "trimap", "trimap of the photo, or folder of trimaps of the same names", PREDICT, type=Path
    ),
    Flag("background", "photo of the empty background, or folder of them", PREDICT, type=Path),
    Flag("align", "align the background with the photo", PREDICT, False, bool),
    Flag(
        "foreground",
        "colours of the cut-out: network, multilevel, blur, none; default: network if it predicts "
        "them, else multilevel",
        PREDICT,
    ),
    Flag("bits", "bits of alpha: 8 or 16; cut-outs always have 8", PREDICT, 8, int),
    Flag("composite", "of a clip: new background, a colour, a photo or a clip", PREDICT, type=Path),
    Flag("smooth", "of a clip: none, or delay, against flicker of one frame", PREDICT, "none"),
    Flag("smooth_threshold", "of --smooth delay, in [0, 1]; default: 0.1", PREDICT, type=float),
    Flag("frame_rate", "frames a second of a folder of frames; default: 25", PREDICT, type=float),
    Flag(
        "batch",
        "frames of a clip at a time, 0: 1 on CPU, else as many as fit; benchmark: photos at a "
        "time, 0: one for each device",
        (*PREDICT, *BENCHMARK),
        0,
        int,
    ),
    Flag("trimap_from", "what makes the trimaps; as --checkpoint", BOTH, type=Path),
    Flag("trimap_head", "output of --trimap_from to make trimaps of", BOTH),
    Flag("trimap_sure", "minimum confidence of known pixels, in [0.5, 1]", BOTH, type=float),
    Flag("trimap_margin", "unknown margin, fraction of the longer side", BOTH, type=float),
    Flag("predictions", "folder of alphas from any tool, to score them", EVALUATE, type=Path),
    Flag("truths", "folder of true alphas of the same names", EVALUATE, type=Path),
    Flag("trimaps", "folder of trimaps, to score the unknown region too", EVALUATE, type=Path),
    Flag("photos", "folder of photos, for the network or to be shown", EVALUATE, type=Path),
    Flag("backgrounds", "folder of empty backgrounds, for the network", EVALUATE, type=Path),
    Flag("convention", "whose metrics; matlab: Composition-1k's benchmark", EVALUATE, "matlab"),
    Flag("save", "save the alphas too", EVALUATE, False, bool),
    Flag(
        "existing",
        "photos that have results: error, keep (resumes a folder), overwrite; default: error",
        PREDICT,
    ),
    Flag("size_step", "pad photos to multiples of it, for fewer compilations", BOTH, 0, int),
    Flag("shard", "share of the photos, INDEX/COUNT from 1/COUNT to COUNT/COUNT", BOTH),
    Flag(
        "size",
        "HEIGHTxWIDTH of the inputs, or any; benchmark: of the photo",
        (*EXPORT, *BENCHMARK),
        "512x512",
    ),
    Flag(
        "rule", "the test-time rule for photos of --size, not only a network", EXPORT, False, bool
    ),
    Flag("platform", "where StableHLO runs fast: cpu, cuda, rocm or tpu", EXPORT, "cpu"),
    Flag("weights", "how kernels are stored: float32, float16 or int8", EXPORT, "float32"),
    Flag("sweep", "file of the runs, or the name of one in configs/sweeps", SWEEP, type=Path),
    Flag("seeds", "seeds of each row; default: SEEDS of the file, or 1", SWEEP, type=int),
    Flag("cluster", "slurm, or local for all runs at the same time; default: in turn", SWEEP),
    Flag("overwrite", "replace existing results", (*RESULTS, *BENCHMARK), False, bool),
    Flag("debug", "show the traceback of an error", default=False, type=bool),
    Flag("help", "show this help", default=False, type=bool),
)


def define_flags() -> flags.FlagValues:
    """Returns all flags except the fields of the config, at their defaults."""
    define = {
        str: flags.DEFINE_string,
        Path: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_bool,
    }
    values = flags.FlagValues()
    for flag in FLAGS:
        modes = "" if flag.modes == MODES else f"{', '.join(flag.modes)}: "
        define[flag.type](flag.name, flag.default, modes + flag.help, flag_values=values)
    return values
