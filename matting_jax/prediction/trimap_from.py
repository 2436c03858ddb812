"""Builds a trimap from the output of a trimap-free network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from matting_jax.choices import one_of
from matting_jax.image.geometry import resize_bilinear
from matting_jax.image.trimap import from_masks
from matting_jax.models import NETWORKS, find_network
from matting_jax.models.network import TrimapRule

FIELDS = ("head", "sure", "margin")  # of a rule, which users may replace


def rule_of(name: str, given: Mapping[str, Any] | None = None) -> TrimapRule:
    """Returns the trimap rule of network `name`, with the fields `given` replaced.

    Raises ValueError for a network that makes no trimap and for an invalid field or value.
    """
    rule = find_network(name).trimap
    if rule is None:
        makers = [other for other, network in NETWORKS.items() if network.trimap]
        raise ValueError(
            f"{name} makes no trimap: take a network that needs only the photo, {', '.join(makers)}"
        )
    for field in given or {}:
        one_of(field, FIELDS, "field of a trimap rule")
    rule = replace(rule, **given or {})
    one_of(rule.head, rule.heads, f"head of {name} that makes a trimap")
    if not 0.5 <= rule.sure <= 1:
        raise ValueError(f"sure must be from 0.5 to 1, got {rule.sure}")
    if not 0 <= rule.margin < 0.5:
        raise ValueError(f"margin must be at least 0 and below 0.5, got {rule.margin}")
    return rule


def probabilities(rule: TrimapRule, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities of foreground and of background, [h, w] each.

    `output` [h, w, C] is that of the rule's head, in [0, 1]. Raises ValueError if it does not have
    the classes of a trimap.
    """
    channels = rule.heads[rule.head]
    classes = 3 if len(channels) > 1 else 1  # the third is unknown
    if output.shape[-1] != classes:
        raise ValueError(
            f"{rule.head} has {output.shape[-1]} classes, but a trimap has background, unknown and "
            "foreground: take a run of a variant that trains trimaps"
        )
    if classes == 1:
        return output[..., 0], 1 - output[..., 0]
    foreground, background = channels
    return output[..., foreground], output[..., background]


def trimap(
    foreground: np.ndarray, background: np.ndarray, sure: float, margin: float
) -> np.ndarray:
    """Builds a trimap from the probabilities of foreground and background.

    Args:
        foreground: probability of foreground [H, W].
        background: probability of background [H, W].
        sure: minimum probability of a known pixel.
        margin: distance of known pixels to all others, as a fraction of the longer side.

    Returns:
        Trimap [H, W] float32 of 0, 0.5 and 1.
    """
    distance = margin * max(foreground.shape)
    return from_masks(foreground >= sure, background >= sure, distance)


def make_trimap(rule: TrimapRule, output: np.ndarray, height: int, width: int) -> np.ndarray:
    """Builds the trimap [height, width] of a photo from the output [h, w, C] of the rule's head.

    The output is resized bilinearly before it is thresholded.
    """
    foreground, background = probabilities(rule, resize_bilinear(output, height, width))
    return trimap(foreground, background, rule.sure, rule.margin)
