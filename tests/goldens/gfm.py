"""The checkpoints behind the goldens of GFM."""

import json
from pathlib import Path

import numpy as np

from tests.goldens import synth

GOLDENS = Path(__file__).parent
SCALES = {"r34": "r34", "r34_ft": "r34", "r34_bt": "r34", "d121": "d121", "d121_rim": "d121"}


def state_dict(manifest: str, golden: np.lib.npyio.NpzFile, seed: int) -> dict:
    """The tensors of gfm_MANIFEST.json as the official network held them when it made `golden`.

    Statistics are scaled by powers of two, lest features grow beyond all biases; the last
    convolutions are the golden's own.
    """
    tensors = synth.state_dict(str(GOLDENS / f"gfm_{manifest}.json"), seed)
    scales = GOLDENS / f"gfm_{SCALES.get(manifest, manifest)}_scale.json"
    for name, exponent in json.loads(scales.read_text()):
        if name in tensors:
            tensors[name] = tensors[name] * np.float32(2.0**exponent)
    own = {key.removeprefix("ckpt/"): golden[key] for key in golden if key.startswith("ckpt/")}
    return tensors | own
