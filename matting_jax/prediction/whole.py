"""Test-time rules compiled whole, with their resizes, for sizes that many photos have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from matting_jax.data.files.sizes import read_size
from matting_jax.parallel import on_accelerator
from matting_jax.prediction.programs import Inputs
from matting_jax.prediction.resized import keep_resized

# Photos of one size that repay the compilation of a program for this size only.
COMMON = 16


def common_sizes(photos: Iterable[Path]) -> set[tuple[int, int]]:
    """Returns the sizes, height and width, whose photos are resized on the device.

    On accelerators those that at least COMMON photos have. None on CPU, where the sparse matrices
    of the host are fastest, and photos of all sizes share the programs of the network.
    """
    counts: Counter[tuple[int, int]] = Counter()
    if on_accelerator():
        for photo in photos:
            with suppress(ValueError):  # reported when it is read
                counts[read_size(photo)] += 1
    return {size for size, count in counts.items() if count >= COMMON}


def run_whole(
    rule: Callable[..., Any],
    function: Callable[..., Any],
    variables: Any,
    inputs: Inputs,
    heads: tuple[str, ...],
) -> Any:
    """Returns the output of a test-time rule for photos of one size, as one program.

    Args:
        rule: the test-time rule, with its options.
        function: function(variables, inputs, heads), the network, of which the rule reads outputs.
        variables: its variables.
        inputs: the photos and the other inputs of the rule, float32 [N, H, W, C] by name.
        heads: not read; the rule chooses the outputs.
    """

    def apply(head: str, **images: Any) -> Any:
        images = {name: keep_resized(image) for name, image in images.items()}
        return function(variables, images, (head,))

    return rule(apply, **inputs)
