"""Configs: recipes start from the defaults, the command line overrides, a workdir keeps them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from matting_jax.choices import one_of
from matting_jax.files import shipped_folder

# What other programs call a field, by its last word.
SYNONYMS = {
    **dict.fromkeys(("lr", "rate", "base_lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize"), "batch_size"),
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs"), "steps"),
    **dict.fromkeys(("iters", "iterations", "max_steps", "num_steps"), "steps"),
    **dict.fromkeys(("wd", "l2"), "optimizer.weight_decay"),
    **dict.fromkeys(("optim", "opt", "optimizer"), "optimizer.name"),
    **dict.fromkeys(("beta1",), "optimizer.b1"),
    **dict.fromkeys(("beta2",), "optimizer.b2"),
    **dict.fromkeys(("clip", "grad_clip", "max_norm"), "optimizer.clip_norm"),
    **dict.fromkeys(("scheduler", "schedule", "lr_schedule"), "optimizer.schedule.name"),
    **dict.fromkeys(("warmup", "warmup_iters"), "optimizer.schedule.warmup_steps"),
    **dict.fromkeys(("ema",), "ema_decay"),
    **dict.fromkeys(("amp", "fp16", "bf16", "precision", "dtype"), "compute_dtype"),
    **dict.fromkeys(("accum", "grad_accum", "accumulation_steps"), "accumulate"),
    **dict.fromkeys(("crop_size", "image_size", "img_size", "resolution"), "data.crop.size"),
    **dict.fromkeys(("num_workers", "threads"), "data.workers"),
    **dict.fromkeys(("pretrained", "weights", "ckpt"), "init.checkpoint"),
    **dict.fromkeys(("log_interval", "print_every"), "log_every"),
    **dict.fromkeys(("eval_interval", "eval_every", "val_every"), "evaluate_every"),
    **dict.fromkeys(("save_interval", "ckpt_every"), "save_every"),
}
# Types of fields, for error messages.
TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a tuple",
    ConfigDict: "a group of fields",
}


def defaults() -> ConfigDict:
    """Returns every field that general code reads, with the default of most recipes.

    A recipe changes what its paper says. It adds the fields that only its network, task or crop
    rule reads, in `model`, `task`, `synthesis`, `data.crop` and `test_time`. Source of
    docs/configuration.md.
    """
    config = ConfigDict()
    config.name = ""  # network, a name of matting_jax.models.NETWORKS
    config.seed = 0  # seed of initial weights, data order and augmentation
    config.steps = 100_000  # optimizer steps
    config.batch_size = 16  # samples per step, over all devices
    config.accumulate = 1  # gradient accumulation: micro-batches per step, to save memory
    # True: keep only results of convolutions for the backward pass, and compute the rest again
    config.rematerialise = False
    config.compute_dtype = "float32"  # "float32", or "bfloat16"; also to evaluate and predict
    config.synchronise_statistics = True  # compute batch statistics over all devices
    config.freeze_statistics = False  # keep the running statistics of BatchNorm, for fine-tuning
    # decay of the moving average of the parameters, which is then evaluated and saved too; 0: none
    config.ema_decay = 0.0
    config.log_every = 100  # steps between two log lines; 0: never
    config.evaluate_every = 5000  # steps between two evaluations; 0: never
    # before the first step: "previews" of test images of one size, which compiles the network once;
    # "all": score and show the test images; "none"
    config.evaluate_first = "previews"
    config.save_every = 1000  # steps between two checkpoints; 0: only at the end
    config.preview_images = 6  # test images in a preview
    # (FIRST, LAST): trace these steps by jax.profiler into WORKDIR/profile; (): none
    config.profile_steps = ()
    config.allocator = True  # on CPU: keep freed memory, steps are up to a third faster
    # folder of compiled programs, at most 1 GiB, and of their traces; "": none; ~/.cache is
    # XDG_CACHE_HOME if set
    config.compilation_cache = "~/.cache/matting_jax/xla"

    # Where curves and previews go in addition to the workdir.
    config.logging = ConfigDict()
    config.logging.wandb = ""  # project at Weights & Biases; "": none

    # Keywords of the network.
    config.model = ConfigDict()

    # Weights to start from.
    config.init = ConfigDict()
    config.init.checkpoint = ""  # official checkpoint or workdir of the network
    config.init.backbone = ""  # official checkpoint of only the backbone
    config.init.model = ConfigDict()  # keywords in which the network of `checkpoint` differs

    # What the network learns.
    config.task = ConfigDict()
    config.task.name = ""  # a file of matting_jax/tasks

    # Composition and augmentation on the device.
    config.synthesis = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # "sgd", "adam" or "adamw"
    config.optimizer.learning_rate = 0.01  # peak learning rate
    config.optimizer.momentum = 0.9  # sgd: momentum
    config.optimizer.b1 = 0.9  # adam, adamw: decay of the mean gradient
    config.optimizer.b2 = 0.999  # adam, adamw: decay of the mean squared gradient
    config.optimizer.eps = 1e-8  # adam, adamw: added to the root of the mean squared gradient
    # weight decay: decoupled for adamw, added to the gradient otherwise
    config.optimizer.weight_decay = 0.0
    config.optimizer.decay = "all"  # weight decay of "all" parameters, or of "kernels" only
    config.optimizer.clip_norm = 0.0  # maximum global norm of the gradient; 0: not clipped
    # maximum global norm as a multiple of its moving mean, as in GCA; 0: not clipped
    config.optimizer.clip_moving = 0.0
    # learning rate factor of each top-level module; 0 freezes it
    config.optimizer.module_rates = ConfigDict()

    # The learning rate over the steps.
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"  # "constant", "step", "poly" or "cosine"
    config.optimizer.schedule.warmup_steps = 0  # warm-up steps, counted in config.steps
    # fraction of the rate from which warm-up rises exponentially; 0: it rises linearly from zero
    config.optimizer.schedule.warmup_from = 0.0
    config.optimizer.schedule.first_step = 0  # 1: the first step has the rate of the second
    config.optimizer.schedule.step_every = 0  # step: steps between two changes of the rate
    config.optimizer.schedule.step_factor = 0.1  # step: factor of each change
    config.optimizer.schedule.power = 0.9  # poly: exponent

    # Data, read and cropped on the host.
    config.data = ConfigDict()
    config.data.directory = ""  # folder of prepared TFDS data sets; "": the default of TFDS
    # folder of file checks, estimated colours and denoised copies; "": ~/.cache/matting_jax
    config.data.cache = ""
    config.data.workers = 8  # threads that read and crop images
    config.data.skip_bad = False  # skip files that cannot be used instead of raising an error
    # "srgb": convert photos to sRGB by the ICC profiles of their files; "ignore": read them as sRGB
    config.data.colour_profile = "srgb"
    # colours of foregrounds that come as photo and alpha: "estimate", or "as_is" in the photo
    config.data.foreground_colours = "estimate"
    config.data.keep_decoded = False  # keep decoded images in memory, if they fit
    # GB of decoded training images kept in a file below data.cache while the run lasts; 0: none
    config.data.keep_on_disk = 0.0

    # Training data: a data set, folders, or a list file.
    config.data.train = ConfigDict()
    config.data.train.dataset = ""  # name of a data set of docs/data.md
    config.data.train.split = "train"  # split of the data set
    config.data.train.background_dataset = ""  # data set of backgrounds, if `dataset` has none
    config.data.train.background_split = "train"  # split of the data set of backgrounds
    config.data.train.foregrounds = ""  # folder with image/ and alpha/, or of RGBA files
    config.data.train.backgrounds = ""  # folder of backgrounds, with its subfolders
    config.data.train.images = ""  # folder of real photos with image/ and alpha/
    config.data.train.photos = ""  # folder of unlabelled photos and clips for SOC
    config.data.train.list = ""  # list file of PaddleSeg: foreground [background] [trimap]
    config.data.train.root = ""  # folder of the list's relative paths; "": that of the list
    config.data.train.separator = " "  # separator of the list's columns
    config.data.train.combine = 0.0  # probability of a second foreground behind the first
    # number of backgrounds that each foreground always meets, chosen by the seed; 0: any of all
    config.data.train.fixed_backgrounds = 0

    # Test data: a data set, a folder, or a list file.
    config.data.test = ConfigDict()
    config.data.test.dataset = ""  # name of a data set of docs/data.md
    config.data.test.split = "test"  # split of the data set
    config.data.test.background_dataset = ""  # data set of backgrounds, if `dataset` has none
    config.data.test.background_split = "valid"  # split of the data set of backgrounds
    # folder with image/ and alpha/, and trimap/ or background/ if the network needs them
    config.data.test.images = ""
    config.data.test.list = ""  # list file of PaddleSeg: foreground [background] [trimap]
    config.data.test.root = ""  # folder of the list's relative paths; "": that of the list
    config.data.test.separator = " "  # separator of the list's columns
    # px from soft alpha to the edge of the trimaps made where the data has none; -1: none is made
    config.data.test.trimap_distance = -1

    # Crops of the training images. A recipe adds the field of its crop rule.
    config.data.crop = ConfigDict()
    config.data.crop.size = 512  # height of the crops, px
    config.data.crop.width = 0  # width of the crops, px; 0: equal to the height
    # windows: images smaller than the window; "enlarge" them, or "pad" them to `size`
    config.data.crop.small = "enlarge"
    # windows: length that longer short sides are reduced to before; 0: no limit
    config.data.crop.max_short = 0
    config.data.crop.around = "anywhere"  # "anywhere", or around "foreground" or "unknown" pixels

    # Options of the network's test-time rule.
    config.test_time = ConfigDict()
    return config


def follow(group: ConfigDict, field: str) -> FieldReference:
    """Returns a value that follows `field` of `group` until it is set itself.

    A recipe ties by it an option of the test-time rule to the size of the training crops.
    """
    return group.get_ref(field) + 0


def split_variant(spec: str) -> tuple[Path, str]:
    """Returns FILE and VARIANT of FILE:VARIANT.

    A path may hold colons, as C:/x.py does: the longest part that is a file is FILE. A bare name,
    as modnet or modnet:paper, is that of a recipe of the library, unless there is such a file.
    """
    parts = spec.split(":")
    for count in range(len(parts), 0, -1):
        path = Path(":".join(parts[:count]))
        if path.is_file():
            return path, ":".join(parts[count:])
    path, colon, variant = spec.rpartition(":")
    # A single letter is a drive.
    path, variant = (Path(path), variant) if colon and len(path) > 1 else (Path(spec), "")
    return find_recipe(path), variant


def find_recipe(path: Path) -> Path:
    """Returns the file of the library's recipe if `path` is its bare name, else `path` itself.

    Raises ValueError for a bare name that no recipe has, with the closest one.
    """
    if path.suffix or path.name != str(path) or path.is_file():
        return path
    recipes = {file.stem: file for file in sorted(shipped_folder("configs").glob("*.py"))}
    return recipes[one_of(str(path), recipes, "recipe")]


def load_config(path: Path, variant: str) -> ConfigDict:
    """Returns `get_config()` of a recipe for a variant, with defaults for fields that it lacks."""
    if not path.is_file():
        others = [str(other) for other in (path.parent or Path()).glob("*.py")]
        if others:
            one_of(str(path), others, "config file")
        raise FileNotFoundError(f"there is no config file {path}")
    module = import_config_file(path)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} is no config: it must define get_config(), as configs/*.py do")
    arguments = ()
    if variant:
        variants = getattr(module, "VARIANTS", ())
        if not variants:
            raise ValueError(f"{path} has no variants: omit :{variant}")
        arguments = (one_of(variant, variants, f"variant of {path}"),)
    with named_errors(path):
        config = module.get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config() of {path} must return a ConfigDict, got {config!r:.80}")
    with named_errors(path):
        return complete(config)


def import_config_file(path: Path) -> ModuleType:
    """Returns the module of a recipe or sweep file; ValueError names a file that cannot be one."""
    if path.suffix != ".py":
        raise ValueError(f"--config {path} is not a Python file: give a recipe, such as modnet.py")
    spec = importlib.util.spec_from_file_location("matting_jax_config", path)
    module = importlib.util.module_from_spec(spec)
    with named_errors(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turns an exception of a config file into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"the config {path} fails: {kind}{' '.join(str(error).split())}"
        ) from error


def read_config(workdir: Path) -> ConfigDict:
    """Returns the config of the run in `workdir`, with defaults for fields that an older run lacks.

    Raises FileNotFoundError if `workdir` holds no run, and ValueError for a damaged file.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} is not a workdir: it has no config.json")
    try:
        fields = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        fault = "damaged or incomplete" if path.stat().st_size else "empty"
        raise ValueError(f"{path}, the config of the run, is {fault}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is no config of a run: it holds {fields!r:.80}")
    try:
        return complete(ConfigDict(restore_tuples(fields)))
    except ValueError as error:
        raise ValueError(f"{path} is no config of a run: {error}") from error


def restore_tuples(value: Any) -> Any:
    """Returns `value` of a JSON file with tuples in place of lists, as configs have them."""
    if isinstance(value, dict):
        return {name: restore_tuples(x) for name, x in value.items()}
    if isinstance(value, list):
        return tuple(restore_tuples(x) for x in value)
    return value


def complete(config: ConfigDict) -> ConfigDict:
    """Adds the fields of `defaults()` that `config` lacks, and returns it.

    Raises ValueError for a field of another type than its default.
    """
    with config.unlocked():
        add_missing(config, defaults())
    return config


def add_missing(group: ConfigDict, other: ConfigDict, prefix: str = "") -> None:
    """Adds the fields of `other` that `group` lacks, at any depth; `prefix` is its own field."""
    for name, value in other.items():
        if name not in group:
            group[name] = value
            continue
        check_type(prefix + name, group[name], value)
        if isinstance(value, ConfigDict):
            add_missing(group[name], value, f"{prefix}{name}.")


def check_type(field: str, value: Any, default: Any) -> None:
    """Raises ValueError for a value of another type than the default; floats may be integers."""
    if not (type(value) is type(default) or (type(default) is float and type(value) is int)):
        raise ValueError(f"{field} must be {TYPES[type(default)]}, got {value!r:.80}")


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """Returns `config` with the fields that the command line sets.

    Args:
        config: the config to change, whose fields are the valid ones.
        arguments: --config.FIELD=VALUE or --[no]config.FIELD; the last one of a field counts.

    Raises:
        ValueError: a field does not exist, or its value has the wrong type.
    """
    fields = flatten(config)
    synonyms = {word: field for word, field in SYNONYMS.items() if field in fields}
    last = {}  # absl would join the values of a tuple that is set twice
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--no").removeprefix("--")
        name = name.removeprefix("config.")
        last[one_of(name, fields, "field of the config", synonyms)] = argument
    command = ["launch.py", *last.values()]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=parsed, sys_argv=command)
    try:
        parsed(command)
    except flags.IllegalFlagValueError as error:
        raise ValueError(explain_value(str(error), last, fields)) from error
    except flags.Error as error:
        raise ValueError(f"{error} (set a field by --config.FIELD=VALUE)") from error
    changed = flatten(parsed.config)
    for name in last:
        if isinstance(fields[name], tuple):
            check_tuple(name, changed[name], fields[name])
    return parsed.config


def explain_value(message: str, last: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Returns absl's message for a wrong type in a user's words, given arguments and old values."""
    for name, argument in last.items():
        if message.startswith(f"flag {argument}:"):
            value, kind = argument.partition("=")[2], TYPES.get(type(fields[name]))
            return f"--config.{name} must be {kind}, got {value!r:.80}" if kind else message
    return message


def check_tuple(name: str, value: tuple, default: tuple) -> None:
    """Raises ValueError if `value` holds strings for numbers, or replaces a pair by no pair.

    Tuples of other lengths, and those of pairs or strings, are lists of any length.
    """
    if any(isinstance(x, str) for x in default):
        return
    if any(isinstance(x, str) for x in value):
        raise ValueError(f"--config.{name} takes numbers, like {default}, got {value}")
    is_pair = len(default) == 2 and not any(isinstance(x, tuple) for x in default)
    if is_pair and len(value) != 2:
        raise ValueError(f"--config.{name} takes 2 numbers, like {default}, got {value}")


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns {dotted field: value} of a config."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= flatten(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
