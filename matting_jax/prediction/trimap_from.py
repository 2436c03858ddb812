"""A trimap from what a network says of a photo alone, for another network that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from matting_jax.choices import one_of
from matting_jax.image.geometry import resize_bilinear
from matting_jax.image.trimap import from_masks


class Rule(NamedTuple):
    """How a network's output becomes a trimap.

    `head` is the output that is read. What it calls foreground, or background, with at least `sure`
    is known, but not within `margin`, a share of the photo's longer side, of anything else.
    """

    head: str
    sure: float
    margin: float


# The rule of each network that makes trimaps, best on the sample; docs/bisenet_v2.md has the rest.
RULES = {
    "bisenet_v2": Rule("logits", 0.5, 0.0),
    "modnet": Rule("alpha", 0.8, 0.01),
    "pp_matting": Rule("alpha", 0.8, 0.0),
    "gfm": Rule("glance", 0.8, 0.0),
}
# The heads it may be made of, each with the channels of foreground and background; of a head of one
# channel the background is what foreground lacks of 1.
HEADS = {
    "bisenet_v2": {"logits": (2, 0)},
    "modnet": {"alpha": (0,), "semantic": (0,)},
    "pp_matting": {"semantic": (0, 2), "alpha": (0,)},
    "gfm": {"glance": (2, 0), "alpha": (0,)},
}


def rule_of(name: str, given: Mapping[str, Any] | None = None) -> Rule:
    """The rule of network `name` with the fields `given` in place of its own.

    Raises ValueError for a network that makes no trimap, and for a field or value that is none.
    """
    if name not in RULES:
        raise ValueError(
            f"{name} makes no trimap: take one that needs nothing beside the photo, "
            f"{', '.join(RULES)}"
        )
    for field in given or {}:
        one_of(field, Rule._fields, "field of a trimap's rule")
    rule = RULES[name]._replace(**given or {})
    one_of(rule.head, HEADS[name], f"head of {name} that makes a trimap")
    if not 0.5 <= rule.sure <= 1:
        raise ValueError(f"sure must be from 0.5 to 1, got {rule.sure}")
    if not 0 <= rule.margin < 0.5:
        raise ValueError(f"margin must be at least 0 and below 0.5, got {rule.margin}")
    return rule


def known(name: str, head: str, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How surely each pixel is foreground and background, [h, w] both, by `output` [h, w, C] of a
    network: probabilities, or one channel from 0 to 1.

    Raises ValueError where it has not the classes of a trimap.
    """
    channels = HEADS[name][head]
    classes = len(channels) + (len(channels) > 1)  # the third is unknown
    if output.shape[-1] != classes:
        raise ValueError(
            f"this {name} tells {output.shape[-1]} classes apart, but a trimap has background, "
            "unknown and foreground: take a run of a variant that trains trimaps"
        )
    if len(channels) == 1:
        return output[..., 0], 1 - output[..., 0]
    return tuple(output[..., channel] for channel in channels)


def trimap(
    foreground: np.ndarray, background: np.ndarray, sure: float, margin: float
) -> np.ndarray:
    """A trimap [H, W] float32 (0, 0.5, 1) by how surely each pixel is foreground and background.

    See `Rule`; the longer side is that of the arrays [H, W].
    """
    distance = margin * max(foreground.shape)
    return from_masks(foreground >= sure, background >= sure, distance)


def make_trimap(name: str, rule: Rule, output: np.ndarray, height: int, width: int) -> np.ndarray:
    """The trimap [height, width] of a photo by `output` [h, w, C] of network `name` for all of it,
    which is resized between neighbouring pixels before anything is decided."""
    maps = known(name, rule.head, resize_bilinear(output, height, width))
    return trimap(*maps, rule.sure, rule.margin)
