"""Finds a network's tensors in what a checkpoint file holds.

Training code saves more than weights: {"model": ..., "optimizer": ...}, `params_ema`, names that
begin with `module.` or `_orig_mod.`. The dict and the prefix are found by the names that fit.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from matting_jax.convert.names import StateDict

# Counters of batch normalisation and of PyTorch's AveragedModel, which nothing reads.
COUNTERS = ("num_batches_tracked", "n_averaged")
# Names that PyTorch puts before those of a compiled, sharded or recomputed module, also inside.
WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Words in the name of a moving average of the weights.
AVERAGES = {"ema", "average", "averaged", "avg", "swa"}
# Where the weights are if no names fit, for the error message.
USUAL = ("state_dict", "model_state", "model_state_dict", "model", "params")

Content = Mapping[str, Any]  # arrays, and dicts of them at any depth
Shapes = Mapping[str, tuple[int, ...]]

logger = logging.getLogger("matting_jax")


def drop_counters(state_dict: StateDict) -> StateDict:
    """Drops the counters, which nothing reads."""
    return {name: x for name, x in state_dict.items() if not name.endswith(COUNTERS)}


def find_tensors(content: Content, shapes: Shapes) -> StateDict:
    """Returns the tensors of `content` that fit a network best, named as in `shapes`.

    Other names in the same dict keep their prefix. If two sets of weights fit, the moving average
    is used, and this is logged.

    Args:
        content: what a file holds.
        shapes: names and shapes of the network's tensors.

    Raises:
        ValueError: several sets of weights fit, and none is a moving average.
    """
    groups = {name: drop_counters(group) for name, group in walk(content)}
    tensors = {name + key: x for name, group in groups.items() for key, x in group.items()}
    hits, exact = Counter(), Counter()
    for name, x in tensors.items():
        for prefix, rest in splits(name):
            if rest in shapes:
                hits[prefix] += 1
                exact[prefix] += np.shape(x) == shapes[rest]
    fitting = [prefix for prefix in hits if exact[prefix] == len(shapes)]
    best = max(hits, key=lambda prefix: (exact[prefix], hits[prefix]), default=None)
    if best is None or 2 * hits[best] < len(shapes):
        return drop_counters(usual_tensors(content))
    prefix = choose(fitting, tensors, shapes) if fitting else best
    # Dicts that hold nothing of the network, such as an optimizer's, are ignored.
    wanted = {prefix + name for name in shapes}
    used = [name for name, group in groups.items() if any(name + key in wanted for key in group)]
    others = tuple(other for other in fitting if other != prefix)
    found = {name + key: tensor for name in used for key, tensor in groups[name].items()}
    return {
        name.removeprefix(prefix): x
        for name, x in found.items()
        if name.startswith(prefix) or not (others and name.startswith(others))
    }


def walk(content: Content, prefix: str = "") -> Iterator[tuple[str, StateDict]]:
    """Yields the arrays of each dict in `content`, with the joined names of the dicts above it."""
    arrays = {
        WRAPPERS.sub("", str(name)): x for name, x in content.items() if not isinstance(x, Mapping)
    }
    if arrays:
        yield prefix, arrays
    for name, x in content.items():
        if isinstance(x, Mapping):
            yield from walk(x, f"{prefix}{name}.")


def splits(name: str) -> Iterator[tuple[str, str]]:
    """Yields each way to cut a dotted name in two: "" and a.b, a. and b."""
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


def choose(prefixes: list[str], tensors: StateDict, shapes: Shapes) -> str:
    """Returns the one of `prefixes` whose tensors are to be read; each of them fits."""
    averages = [prefix for prefix in prefixes if is_average(prefix)]
    if averages and len(averages) < len(prefixes):
        others = [prefix for prefix in prefixes if prefix not in averages]
        logger.info(
            f"the file holds the weights ({label(others[0])}) and their moving average "
            f"({label(averages[0])}): the moving average is used"
        )
    first, *more = averages or prefixes
    for other in more:
        if any((tensors[first + x] != tensors[other + x]).any() for x in shapes):
            names = ", ".join(label(prefix) for prefix in (averages or prefixes))
            raise ValueError(
                f"the file holds several sets of weights that fit: {names}; save only one of them"
            )
    return first


def is_average(prefix: str) -> bool:
    """Returns whether a prefix says that its tensors are a moving average."""
    return not AVERAGES.isdisjoint(re.split(r"[^a-z]+", prefix.lower()))


def label(prefix: str) -> str:
    """Returns the name of a part of a file for messages."""
    return prefix.rstrip(".") or "without a prefix"


def usual_tensors(content: Content) -> StateDict:
    """Returns the tensors of the part of a file that usually holds the weights."""
    for name in USUAL:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    return {name + key: x for name, group in walk(content) for key, x in group.items()}


def without_prefixes(content: Content) -> Iterator[StateDict]:
    """Yields the dicts of a file that may hold a backbone, without what all their names begin with.

    Moving averages come first.
    """
    parts = [usual_tensors(content)]
    parts += [group for name, group in walk(content) if is_average(name)]
    parts += [group for name, group in walk(content) if not is_average(name)]
    for part in parts:
        part = drop_counters(part)
        yield part
        while part:
            first = next(iter(part)).partition(".")[0] + "."
            if not all(name.startswith(first) for name in part):
                break
            part = {name.removeprefix(first): x for name, x in part.items()}
            yield part
