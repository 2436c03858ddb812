"""The built wheel holds all that a user needs, in a folder far from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from matting_jax.config import find_recipe
from matting_jax.data.prepared.builders import CHECKOUT
from tests.helpers import CONFIGS, ROOT, photographs, save_image

PACKAGED = ("matting_jax", "configs", "datasets")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# The sample's recipe for a network that compiles in a second.
RECIPE = """
from matting_jax.config import load_config, split_variant
from tests.tiny import shrink


def get_config():
    config = shrink(load_config(*split_variant("modnet")))
    config.steps = 2
    config.optimizer.module_rates = {"backbone": 1.0}
    return config
"""
# The installed command, where the tests' tiny networks are known too.
COMMAND = """
import sys
from matting_jax.commandline import command
from tests.tiny import register_tiny
register_tiny()
sys.exit(command())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that nothing is written to the checkout."""
    source, folder = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in PACKAGED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, folder, source], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_wheel_holds_code_recipes_and_builders(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    found = {name for name in names if name.startswith("matting_jax/")}
    expected = {f"matting_jax/{x.relative_to(ROOT)}" for x in CONFIGS.rglob("*.py")}
    expected |= {f"matting_jax/{x.relative_to(ROOT)}" for x in CHECKOUT.rglob("*.py")}
    expected |= {str(x.relative_to(ROOT)) for x in (ROOT / "matting_jax").rglob("*.py")}
    assert found == expected | {"matting_jax/py.typed"}


@pytest.mark.slow
def test_installed_wheel_trains_predicts_and_converts(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--target", site, wheel], check=True)
    (empty / "tiny.py").write_text(RECIPE)
    save_image(photographs()["foreground"][0], empty, "photo.png")
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import matting_jax; print(matting_jax.__file__)"
    assert run("-c", where).strip() == str(site / "matting_jax" / "__init__.py")
    assert "matting_jax predict --workdir" in run(site / "bin" / "matting_jax", "--help")
    data = ["--config.data.directory=data", "--config.data.cache=cache"]
    run("-c", COMMAND, "--config=tiny.py", "--workdir=run", *data)
    assert (empty / "run" / "checkpoints" / "2").is_dir()
    assert list((empty / "data" / "sample").iterdir())
    run("-c", COMMAND, "predict", "--workdir=run", "--input=photo.png", "--output=out")
    assert list((empty / "out").rglob("photo*.png"))
    run("-c", COMMAND, "convert", "--workdir=run", "--output=tiny.safetensors")
    assert (empty / "tiny.safetensors").stat().st_size > 1000


def test_recipe_is_found_by_its_name_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = CONFIGS.joinpath("modnet.py").relative_to(CONFIGS).with_suffix("")
    assert find_recipe(name) == CONFIGS / "modnet.py"
    (tmp_path / "modnet").write_text("")
    assert find_recipe(name) == name
    with pytest.raises(ValueError, match="recipe.*modnet"):
        find_recipe(name.with_name("modnett"))
