"""The checkpoints behind the goldens of BackgroundMattingV2."""

import json
import re
from pathlib import Path

import numpy as np

from tests.goldens import synth

GOLDENS = Path(__file__).parent
FILES = {"mobilenet_v2": "mobilenetv2"}


def manifest(backbone: str, refine: bool = True, kernel_size: int = 3) -> list:
    """[name, shape] of each tensor in a file of a network."""
    file = GOLDENS / f"bgmv2_{FILES.get(backbone, backbone)}.json"
    entries = [
        [name, shape]
        for name, shape in json.loads(file.read_text())
        if refine or not name.startswith("refiner.")
    ]
    for entry in entries:
        if re.fullmatch(r"refiner\.conv\d\.weight", entry[0]):
            entry[1] = [*entry[1][:2], kernel_size, kernel_size]
    return entries


def state_dict(golden: np.lib.npyio.NpzFile, entries: list, seed: int) -> dict:
    """The tensors that the official network held when it made `golden`.

    Without these corrections features would grow along the residual blocks until alpha is 0.
    """
    tensors = synth.state_dict(entries, seed)
    if "adj_bn3_scale" in golden:
        for name in tensors:
            if re.fullmatch(r"backbone\.layer\d\.\d+\.bn3\.weight", name):
                tensors[name] = tensors[name] * golden["adj_bn3_scale"]
    for part, layer in (("dec", "decoder"), ("ref", "refiner")):
        if f"adj_{part}_scale" in golden:
            scale = golden[f"adj_{part}_scale"][:, None, None, None]
            tensors[f"{layer}.conv4.weight"] = tensors[f"{layer}.conv4.weight"] * scale
            tensors[f"{layer}.conv4.bias"] = golden[f"adj_{part}_bias"]
    return tensors
