"""Random crops of the training images, drawn from the config's group `crop`.

`size` is the side of the crop, `around` what its window lies around. One field more says by which
rule, each in a file of its own: `rescale`, `windows`, `corners` or `affine`, or for photos with the
class of each pixel `scales`, whose crops may be wider than high. Such a file has
    check(crop): a ValueError for fields that cannot be followed;
    composite(rng, foreground, alpha, background, crop): the crops of what a composite is made of;
    photo(rng, image, alpha, crop): the crops of a real photo and its alpha, which may be None;
but that of `scales` in place of both
    labelled(rng, image, label, crop): the crops of a photo and its label.
Images are uint8 [H, W, 3], alphas and labels uint8 [H, W]; crops are uint8 [size, size, channels]
by name.
"""

from types import ModuleType

from matting_jax.data.crops import affine, corners, rescale, scaled, windows
from matting_jax.data.crops.around import AROUND

RULES = {
    "rescale": rescale,
    "windows": windows,
    "corners": corners,
    "affine": affine,
    "scales": scaled,
}


def rule_of(crop) -> ModuleType:
    """The file of the rule that the config group `crop` names.

    Raises ValueError unless it names exactly one.
    """
    named = [name for name in RULES if name in crop]
    if len(named) != 1:
        raise ValueError(
            f"config.data.crop must have exactly one of {', '.join(RULES)}, but has "
            f"{' and '.join(named) or 'none'}."
        )
    return RULES[named[0]]


def sides(crop) -> tuple[int, int]:
    """Height and width of the crops."""
    return crop.size, crop.get("width") or crop.size


def check_crop(crop) -> None:
    """Raises ValueError when the config group `crop` cannot be followed."""
    if crop.size < 1:
        raise ValueError(f"config.data.crop.size is {crop.size}, but must be at least 1.")
    if crop.around not in AROUND:
        raise ValueError(
            f"config.data.crop.around is {crop.around!r}, but must be one of {', '.join(AROUND)}."
        )
    rule_of(crop).check(crop)
