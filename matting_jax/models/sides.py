"""The sizes of images that networks take."""

from __future__ import annotations


def check_sides(name: str, height: int, width: int, multiple: int = 32) -> None:
    """Raises ValueError unless both sides of an input of network `name` are multiples of
    `multiple` and not 0."""
    if height % multiple or width % multiple or 0 in (height, width):
        raise ValueError(
            f"{name} needs sides that are multiples of {multiple}, got {height}x{width}"
        )
