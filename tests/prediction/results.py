"""The photos of the fixture `photos`, and the files of their results."""

import hashlib

COLOUR = (200, 40, 90)
SIZES = {  # width, height
    "grey": (37, 50),
    "sub/rgba": (20, 90),
    "sub/deep/palette": (50, 37),
    "dot": (1, 1),
    "photo": (40, 33),
}


def files(folder):
    """Returns the names of all files of a folder but its record."""
    found = (x for x in folder.rglob("*") if x.is_file() and x.name != "predictions.jsonl")
    return sorted(str(x.relative_to(folder)) for x in found)


def pairs(names):
    """Returns the names of the results of photos."""
    return sorted(f"{name}_{kind}.png" for name in names for kind in ("alpha", "cutout"))


def contents(folder):
    return {x: hashlib.sha256((folder / x).read_bytes()).hexdigest() for x in files(folder)}
