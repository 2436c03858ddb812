"""What the library imports when it is used, checked in separate processes."""

import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image

from tests.helpers import MODNET, ROOT

HEAVY = ("tensorflow", "tensorflow_datasets", "torch", "orbax", "tensorboardX")
USE = """
import json, sys, time
start = time.process_time()
import matting_jax as mj
mj.Matter
seconds = time.process_time() - start

import jax, jax.numpy as jnp, numpy as np
from safetensors.numpy import save_file
from matting_jax.commandline import main

folder, config = sys.argv[1:]
model = mj.create_model("modnet")
shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
alpha = mj.Matter("modnet", variables, test_time={"reference_size": 32})(
    np.zeros((40, 50, 3), np.uint8)
)
assert alpha.shape == (40, 50)
save_file(mj.to_state_dict("modnet", variables), f"{folder}/modnet.safetensors")
code = main(
    ["launch.py", f"--config={config}", "--mode=predict", f"--input={folder}/photo.png",
     f"--output={folder}/out", f"--checkpoint={folder}/modnet.safetensors", "--foreground=none",
     "--config.test_time.reference_size=32"], ""
)
print(json.dumps([seconds, code, sorted(sys.modules)]))
"""
HELP = """
import json, sys
from matting_jax.commandline import main
main(["launch.py", "--mode=predict", "--help"], "")
main(["launch.py", "--mode=predict", "--hlep"], "")
print(json.dumps(sorted(sys.modules)))
"""


def printed(program, *arguments):
    """Returns the value on the last line of a program's output, parsed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_matter_and_predict_start_fast_without_libraries_for_training(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "photo.png")
    seconds, code, modules = printed(USE, tmp_path, MODNET)
    assert code == 0
    np.testing.assert_array_equal(Image.open(tmp_path / "out" / "photo_alpha.png"), 128)
    assert not {name.partition(".")[0] for name in modules} & {*HEAVY}
    assert seconds < 5


def test_help_and_a_wrong_flag_import_neither_jax_nor_numpy():
    modules = printed(HELP)
    assert "matting_jax.commandline" in modules and not {"jax", "numpy"} & {*modules}
