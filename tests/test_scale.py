"""The programs of docs/scale.md run in the local mode of their engine."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.convert.files import write_state_dict
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "scale.md").read_text()
NEEDS = {"ray": "ray", "beam": "apache_beam"}


def program(language, word):
    """Returns the block of the page that has a word."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if word in block)
    return found


@pytest.fixture
def folder(official, tmp_path):
    """A folder with modnet.safetensors and photos/ of two sizes."""
    write_state_dict(tmp_path / "modnet.safetensors", official)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(32, 32), (32, 48), (32, 32)]):
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        image.save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def check(folder):
    """Compares the alphas in cutouts/ with those of the network."""
    matter = mj.load(folder / "modnet.safetensors")
    for path in (folder / "photos").iterdir():
        alpha = matter(np.asarray(Image.open(path)))
        saved = np.asarray(Image.open(folder / "cutouts" / f"{path.stem}_alpha.png"))
        assert np.abs(saved - 255 * alpha).max() < 0.51
    assert len(list((folder / "cutouts").glob("*_alpha.png"))) == 3


def environment(**more):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | more


@pytest.mark.slow
@pytest.mark.parametrize("engine", NEEDS)
def test_program_of_an_engine_gives_the_alphas_of_the_network(engine, folder):
    if importlib.util.find_spec(NEEDS[engine]) is None:
        pytest.skip(f"needs {NEEDS[engine]}: pip install 'matting_jax[{engine}]'")
    name = f"cut_out_{engine}.py"
    (folder / name).write_text(program("py", name))
    done = subprocess.run(
        [sys.executable, name, "modnet.safetensors", "photos", "cutouts"],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    check(folder)
    paths = [x for x in (folder / "cutouts").rglob("*means*") if x.is_file()]
    paths += list((folder / "cutouts" / "means").glob("*.csv"))
    lines = {line for path in {*paths} for line in path.read_text().split()}
    assert sum(bool(re.match(r'"?\d\.png"?,0\.', line)) for line in lines) == 3


@pytest.mark.slow
def test_tasks_of_a_slurm_array_complete_the_folder(folder):
    (folder / "array.sh").write_text(program("bash", "SLURM_ARRAY_TASK_ID"))
    (folder / "launch.py").write_text((ROOT / "launch.py").read_text())
    for task, done in (("2", 2), ("1", 3), ("2", 3)):
        variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        command = ["bash", "array.sh"]
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        ran = subprocess.run(
            command, env=environment(PATH=path, **variables), cwd=folder, capture_output=True
        )
        assert ran.returncode == 0, ran.stderr[-4000:]
        assert len(list((folder / "cutouts").glob("*_alpha.png"))) == done
    check(folder)
    assert (folder / "cutouts" / "predictions.jsonl").read_text().count("\n") == 3


def test_programs_of_the_page_are_whole():
    for engine in NEEDS:
        compile(program("py", f"cut_out_{engine}.py"), engine, "exec")
