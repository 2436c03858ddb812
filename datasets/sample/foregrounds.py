"""The kinds of foreground: each draws (rgb [H, W, 3], alpha [H, W]) in 0..1 from (rng, size)."""

from .objects import holes, moving, solid
from .strands import fur, hair
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
