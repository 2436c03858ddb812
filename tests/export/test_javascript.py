"""The JavaScript program of docs/export.md, run by Node where onnxruntime-web is installed."""

import re
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from matting_jax.export import onnx as room
from tests.export.networks import small_matter, write
from tests.helpers import ROOT

PACKAGES = ROOT / "node_modules"
DRIVER = """
import { readFileSync, writeFileSync } from "node:fs";
import { predict } from "./program.mjs";

const alpha = await predict(readFileSync("tiny.onnx"), readFileSync("pixels"), 32, 64);
writeFileSync("alpha", new Uint8Array(alpha.buffer, alpha.byteOffset, alpha.byteLength));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.skipif(
    not (PACKAGES / "onnxruntime-web").is_dir(),
    reason="run npm install onnxruntime-web in the folder of the repository",
)
def test_program_for_browsers_computes_the_alpha_of_the_file(tmp_path):
    page = (ROOT / "docs" / "export.md").read_text()
    program = re.search(r"^```js\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "program.mjs").write_text(program)
    (tmp_path / "driver.mjs").write_text(DRIVER)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    write(small_matter("tiny"), tmp_path / "tiny.onnx", size="32x64")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 4), np.uint8)
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    subprocess.run(["node", "driver.mjs"], cwd=tmp_path, check=True, timeout=120)
    alpha = np.fromfile(tmp_path / "alpha", np.float32).reshape(1, 32, 64, 1)
    image = np.float32(pixels[None, ..., :3]) / 255
    expected = room.open_file(tmp_path / "tiny.onnx")({"image": image})["alpha"]
    assert expected.std() > 0
    np.testing.assert_allclose(alpha, expected, atol=1e-5)
