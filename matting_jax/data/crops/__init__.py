"""Random crops of the training images, as the config group `data.crop` says.

`size` is the height of the crops, `width` their width (0: as the height), and `around` the pixels
that their windows lie around. One more field names the rule, each in a file of its own.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from matting_jax.choices import at_least, one_of
from matting_jax.data.crops import affine, corners, rescale, scaled, windows
from matting_jax.data.crops.around import AROUND
from matting_jax.data.crops.rule import CropRule, Crops, sides

__all__ = ["RULES", "CropRule", "Crops", "check_crop", "check_fits", "find_rule", "sides"]

RULES: dict[str, CropRule] = {
    "rescale": rescale.RULE,
    "windows": windows.RULE,
    "corners": corners.RULE,
    "affine": affine.RULE,
    "scales": scaled.RULE,
}
# Fields that only some rules take: the value that all take, and why not others.
ONLY_SOME = {
    "width": (0, "are square"),
    "small": ("enlarge", "do not pad images"),
    "max_short": (0, "have no limit"),
}
# What a rule may crop, in words.
KINDS = {
    "composite": "foregrounds and backgrounds",
    "photo": "photos",
    "labelled": "photos with the class of each pixel",
    "combines": "two foregrounds, one behind the other",
    "planes": "labels made from the alpha of the whole photo",
}


def rule_name(crop: ConfigDict) -> str:
    """Returns the name of the rule in the config group `crop`.

    Raises ValueError unless the group has exactly one.
    """
    names = [name for name in RULES if name in crop]
    if len(names) != 1:
        raise ValueError(
            f"config.data.crop must have exactly one of {', '.join(RULES)}, but has "
            f"{' and '.join(names) or 'none'}"
        )
    return names[0]


def find_rule(crop: ConfigDict) -> CropRule:
    """Returns the rule that the config group `crop` names.

    Raises ValueError unless it names exactly one.
    """
    return RULES[rule_name(crop)]


def check_crop(crop: ConfigDict) -> None:
    """Raises ValueError if a field of the config group `crop` is not valid."""
    at_least(crop.size, 1, "config.data.crop.size")
    at_least(crop.width, 0, "config.data.crop.width")
    one_of(crop.around, AROUND, "config.data.crop.around")
    name = rule_name(crop)
    for field, (default, reason) in ONLY_SOME.items():
        if crop[field] != default and field not in RULES[name].takes:
            raise ValueError(
                f"config.data.crop.{field} is {crop[field]}, but crops by config.data.crop.{name} "
                f"{reason}: set it to {default}"
            )
    RULES[name].check(crop)


def check_fits(crop: ConfigDict, kind: str) -> None:
    """Raises ValueError if the rule cannot crop such data.

    `kind` is "composite", "photo", "labelled", "combines" or "planes", a field of CropRule.
    """
    if not getattr(find_rule(crop), kind):
        others = [f"config.data.crop.{name}" for name, rule in RULES.items() if getattr(rule, kind)]
        raise ValueError(
            f"config.data.crop.{rule_name(crop)} cannot crop {KINDS[kind]}: use a config with "
            f"{' or '.join(others)}"
        )
