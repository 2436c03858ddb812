"""The background scenes: each draws rgb [H, W, 3] in 0..1 from (rng, size)."""

from .indoors import bookshelf, interior, tabletop
from .outdoors import city_day, foliage, forest, landscape, night_street, seaside
from .surfaces import wall

SCENES = {
    "landscape": landscape,
    "seaside": seaside,
    "interior": interior,
    "night_street": night_street,
    "city_day": city_day,
    "foliage": foliage,
    "forest": forest,
    "wall": wall,
    "bookshelf": bookshelf,
    "tabletop": tabletop,
}
