"""The kinds of foreground: each draws (rgb [H, W, 3], alpha [H, W]) in 0..1 from (rng, size)."""

from .fur import fur
from .hair import hair
from .objects import holes, moving, solid
from .translucent import glass, lace, smoke

KINDS = {
    "hair": hair,
    "fur": fur,
    "lace": lace,
    "glass": glass,
    "smoke": smoke,
    "motion": moving,
    "holes": holes,
    "solid": solid,
}
