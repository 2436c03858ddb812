"""The record of an exported file: what it is, and where its weights come from."""

from __future__ import annotations

from typing import Any

from matting_jax.convert.identity import Identity, as_record
from matting_jax.convert.known import files_of
from matting_jax.export.graph import INPUTS, OUTPUTS, Graph

# Of weights that are not those of a published file.
OWN_LICENCE = "not recorded; it follows from the training data and the initial weights"


def licence_of(identity: Identity) -> str:
    """Returns the licence of published weights, as far as that is known."""
    origin = identity.origin
    for name, file in files_of(identity.network).items():
        if origin.get("name") == f"{identity.network}:{name}" or origin.get("file") == file.file:
            return file.licence
    return OWN_LICENCE


def make_record(graph: Graph, identity: Identity, *, rule: bool) -> dict[str, Any]:
    """Returns the record of a file as plain values.

    Args:
        graph: what was exported.
        identity: that of its weights.
        rule: whether it is the test-time rule, and not only the network.
    """
    record = as_record(identity)
    record.pop("config", None)

    def sides(shape: tuple[int | None, ...]) -> list[int | str]:
        names = (1, "height, a multiple of 32", "width, a multiple of 32", 0)
        return [name if side is None else side for side, name in zip(shape, names, strict=True)]

    inputs = {
        name: {"shape": sides(shape), "values": INPUTS[name]}
        for name, shape in graph.inputs.items()
    }
    return record | {
        "licence": licence_of(identity),
        "computes": "the test-time rule, for photos of one size" if rule else "the network only",
        "inputs": inputs,
        "outputs": {name: OUTPUTS[name] for name in graph.outputs},
    }
