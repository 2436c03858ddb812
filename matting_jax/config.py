"""Configs: read from recipes and workdirs, overridden from the command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from matting_jax.choices import one_of


def defaults() -> ConfigDict:
    """Returns every field that general code reads, with the default of most recipes.

    A recipe adds the fields that only its network, task and crop rule read, in `model`, `task`,
    `synthesis`, `data.crop` and `test_time`, and changes what its paper says.
    """
    config = ConfigDict()
    config.name = ""  # network, a name of matting_jax.models.NETWORKS
    config.seed = 0  # seed of initial weights, data order and augmentation
    config.steps = 100_000  # optimizer steps
    config.batch_size = 16  # samples per step, over all devices
    config.accumulate = 1  # micro-batches per step: gradient accumulation, saves memory
    config.compute_dtype = "float32"  # "float32", or "bfloat16" on accelerators
    config.synchronise_statistics = True  # batch statistics over all devices
    config.freeze_statistics = False  # keep the running statistics, for fine-tuning
    config.ema_decay = 0.0  # decay of the moving average of the parameters; 0: none is kept
    config.model = ConfigDict()  # keywords of the network

    config.init = ConfigDict()
    config.init.checkpoint = ""  # official file or workdir to start from
    config.init.backbone = ""  # official file of the backbone only to start from
    config.init.model = ConfigDict()  # keywords in which the network of init.checkpoint differs

    config.task = ConfigDict()
    config.task.name = ""  # a file of matting_jax/tasks
    config.synthesis = ConfigDict()  # probabilities and ranges of the augmentation

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # "sgd", "adam" or "adamw"
    config.optimizer.learning_rate = 0.01  # peak learning rate
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.b1 = 0.9  # adam, adamw
    config.optimizer.b2 = 0.999  # adam, adamw
    config.optimizer.eps = 1e-8  # adam, adamw
    config.optimizer.weight_decay = 0.0  # decoupled for adamw, added to the gradient otherwise
    config.optimizer.decay = "all"  # "all" parameters, or "kernels" without biases and scales
    config.optimizer.clip_norm = 0.0  # maximum global gradient norm; 0: not clipped
    config.optimizer.clip_moving = 0.0  # the same as a multiple of its moving mean, as in GCA
    config.optimizer.module_rates = ConfigDict()  # learning rate factor by module; 0 freezes it

    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"  # "constant", "step", "poly" or "cosine"
    config.optimizer.schedule.warmup_steps = 0  # warm-up steps, part of config.steps
    config.optimizer.schedule.warmup_from = 0.0  # rate at which warm-up starts, as a fraction
    config.optimizer.schedule.first_step = 0  # 1: the first step has the rate of the second
    config.optimizer.schedule.step_every = 0  # step: steps between two changes of the rate
    config.optimizer.schedule.step_factor = 0.1  # step: factor of each change
    config.optimizer.schedule.power = 0.9  # poly: exponent

    config.data = ConfigDict()
    config.data.directory = ""  # where TFDS keeps its data; "": its own default
    config.data.cache = ""  # where file checks, colours and copies are kept; "": ~/.cache
    config.data.workers = 8  # threads that read and crop images
    config.data.skip_bad = False  # skip files that cannot be used
    config.data.foreground_colours = "estimate"  # "estimate" foreground colours, or "as_is"
    config.data.keep_decoded = False  # keep decoded images in memory

    config.data.train = ConfigDict()
    config.data.train.dataset = ""  # data set by name, built by TFDS
    config.data.train.split = "train"  # split of the data set
    config.data.train.background_dataset = ""  # data set of backgrounds
    config.data.train.background_split = "train"  # split of that data set
    config.data.train.foregrounds = ""  # folder with image/ and alpha/, or of RGBA files
    config.data.train.backgrounds = ""  # folder of background images
    config.data.train.images = ""  # folder of real photos: image/ and alpha/
    config.data.train.photos = ""  # folder of photos without alpha
    config.data.train.list = ""  # list file of PaddleSeg
    config.data.train.root = ""  # folder that its paths are relative to; "": the list's own
    config.data.train.separator = " "  # between the columns of the list
    config.data.train.combine = 0.0  # probability of a second foreground behind the first

    config.data.test = ConfigDict()
    config.data.test.dataset = ""  # data set by name, built by TFDS
    config.data.test.split = "test"  # split of the data set
    config.data.test.background_dataset = ""  # data set of backgrounds
    config.data.test.background_split = "valid"  # split of that data set
    config.data.test.images = ""  # folder with image/ and alpha/, and trimap/ or background/
    config.data.test.list = ""  # list file of PaddleSeg
    config.data.test.root = ""  # folder that its paths are relative to; "": the list's own
    config.data.test.separator = " "  # between the columns of the list
    config.data.test.trimap_distance = -1  # px around soft alpha for trimaps; -1: none are made

    config.data.crop = ConfigDict()
    config.data.crop.size = 512  # height of the crops, px
    config.data.crop.width = 0  # width of the crops, px; 0: as their height
    config.data.crop.around = "anywhere"  # "anywhere", or around "foreground" or "unknown" pixels

    config.test_time = ConfigDict()  # options of the network's test-time rule

    config.log_every = 100  # steps between two log lines; 0: never
    config.evaluate_every = 5000  # steps between two evaluations; 0: never
    config.save_every = 1000  # steps between two checkpoints; 0: only at the end
    config.preview_images = 6  # test images in a preview
    config.allocator = True  # on CPU: keep freed memory, steps are up to a third faster
    config.compilation_cache = "~/.cache/matting_jax/xla"  # folder of compiled programs; "": none
    return config


def split_variant(spec: str) -> tuple[Path, str]:
    """FILE and VARIANT of FILE:VARIANT."""
    path, _, variant = spec.partition(":")
    return Path(path), variant


def load_config(path: Path, variant: str) -> ConfigDict:
    """Returns what `get_config` of a config file returns for a variant, completed."""
    if not path.is_file():
        others = [str(other) for other in (path.parent or Path()).glob("*.py")]
        if others:
            one_of(str(path), others, "config file")
        raise FileNotFoundError(f"there is no config file {path}")
    spec = importlib.util.spec_from_file_location("matting_jax_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not variant:
        return complete(module.get_config())
    variants = getattr(module, "VARIANTS", ())
    if not variants:
        raise ValueError(f"{path} has no variants: leave out :{variant}")
    return complete(module.get_config(one_of(variant, variants, f"variant of {path}")))


def complete(config: ConfigDict) -> ConfigDict:
    """Adds the fields of `defaults()` that a config lacks, and returns it."""

    def fill(group: ConfigDict, default: ConfigDict) -> None:
        for name, value in default.items():
            if name not in group:
                group[name] = value
            elif isinstance(value, ConfigDict):
                fill(group[name], value)

    with config.unlocked():
        fill(config, defaults())
    return config


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """`config` with the fields that the command line sets."""
    fields = flat(config)
    last = {}  # of a field that is set twice the last value counts; of tuples absl joins them
    for argument in overrides:
        name = argument.partition("=")[0].removeprefix("--no").removeprefix("--")
        last[one_of(name.removeprefix("config."), fields, "field of the config")] = argument
    arguments = ["launch.py", *last.values()]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=parsed, sys_argv=arguments)
    try:
        parsed(arguments)
    except flags.Error as error:
        raise ValueError(f"{error} (set a field by --config.FIELD=VALUE)") from error
    for name in last:
        check_tuple(name, flat(config)[name], fields[name])
    return parsed.config


def check_tuple(name: str, value: Any, default: Any) -> None:
    """Raise ValueError where a field that holds a tuple of numbers was given something else.

    A tuple of one number stands for a list of any length, and so does one of pairs.
    """
    if not isinstance(default, tuple) or any(isinstance(x, tuple) for x in default):
        return
    if str in map(type, value) or len(value) != len(default) and len(default) > 1:
        raise ValueError(f"--config.{name} takes {len(default)} numbers, as {default}")


def read_config(workdir: Path) -> ConfigDict:
    """Returns the config of the run in `workdir`, completed where an older run saved fewer fields.

    Raises FileNotFoundError if `workdir` holds no run.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} is no workdir: it has no config.json")
    return complete(ConfigDict(with_tuples(json.loads(path.read_text()))))


def with_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were in the config."""
    if isinstance(value, dict):
        return {name: with_tuples(x) for name, x in value.items()}
    return tuple(with_tuples(x) for x in value) if isinstance(value, list) else value


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{dotted field: value} of a config."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
