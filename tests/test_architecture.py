"""Imports point downwards only, and general code knows no network, task or data set by name."""

import ast
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = "matting_jax"
# From the leaves to the command line: a module imports from its own layer and from lower ones.
LAYERS = (
    (
        "__init__",
        "choices",
        "files",
        "flags",
        "messages",
        "caches",
        "kept",
        "allocator",
        "equations",
        "overlap",
        "parallel",
        "common_step",
        "peers",
        "stopping",
        "addresses",
        "config",
        "defaults",
        "ranges",
    ),
    ("image", "losses", "metrics"),
    ("models",),
    ("tasks", "data"),
    ("workdir",),
    ("convert",),
    ("export",),
    ("prediction",),
    ("evaluation",),
    ("training",),
    ("benchmark",),
    ("commandline",),
    ("__main__",),
)
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
PROGRAMS = (
    "benchmark.network",
    "convert.program",
    "evaluation.compare",
    "evaluation.evaluate",
    "export.program",
    "prediction.predict",
    "prediction.video.program",
    "training.sweep",
    "training.train",
)
PURE = ("tasks", "models", "losses", "image", "metrics")
WORDS = {"backgrounds", "sample"}  # names of data sets that are ordinary words
# `metrics.conventions` offers the metrics of published code by the name of its network.
NAMING = ("models", "metrics.conventions")


def modules(folder: Path) -> dict[str, Path]:
    """Returns {dotted name below the package: file} of all modules."""
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(folder.rglob("*.py"))
    }


MODULES = modules(ROOT / PACKAGE)


def absolute(name: str, node: ast.ImportFrom) -> str:
    """Returns the absolute module of a `from` import in module `name`."""
    if not node.level:
        return node.module
    parts = [PACKAGE, *name.split(".")]
    up = node.level - (MODULES[name].name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def imports_of(name: str, tree: ast.AST) -> set[str]:
    """Returns all imports of a module, also those within functions; own modules as in `MODULES`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = absolute(name, node)
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(f"{PACKAGE}.")
                found.add(f"{PACKAGE}.{inner}" if inner in MODULES else module)
    ours = f"{PACKAGE}."
    return {x.removeprefix(ours) for x in found if x != PACKAGE}


TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
IMPORTS = {name: imports_of(name, tree) for name, tree in TREES.items()}
INNER = {name: {x for x in found if x in MODULES} for name, found in IMPORTS.items()}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def is_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_every_module_has_a_layer():
    assert {room_of(name) for name in MODULES} == set(LEVELS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name):
    # `matting_jax/__init__.py` loads its public names from above when they are first used.
    if name != "__init__":
        level = LEVELS[room_of(name)]
        assert {x for x in INNER[name] if LEVELS[room_of(x)] > level} == set()


def test_imports_have_no_cycles():
    """Imports within functions count too."""
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(INNER[name] - {name}):
            visit(other)
        done.add(path.pop())

    for name in MODULES:
        visit(name)


def test_only_the_command_line_imports_programs():
    assert set(PROGRAMS) <= MODULES.keys()
    importing = {name: INNER[name] & {*PROGRAMS} for name in MODULES if name != "commandline"}
    assert {name: found for name, found in importing.items() if found} == {}


@pytest.mark.parametrize("name", [name for name in MODULES if is_in(name, PURE)])
def test_pure_rooms_import_neither_tensorflow_nor_data(name):
    forbidden = ("tensorflow", "tensorflow_datasets", "data", "config", "workdir")
    assert [x for x in IMPORTS[name] if is_in(x, forbidden)] == []


TENSORFLOW = ("data", "export.savedmodel", "export.tflite")


@pytest.mark.parametrize("name", [name for name in MODULES if not is_in(name, TENSORFLOW)])
def test_only_data_and_its_own_formats_import_tensorflow(name):
    assert [x for x in IMPORTS[name] if is_in(x, ("tensorflow", "tensorflow_datasets"))] == []


def own_files(room: str) -> set[str]:
    """Returns the names of those files of a room that belong to one network or task."""
    general = {"__init__", "network", "task", "cost", "files", "names", "program", "sides"}
    return {path.stem for path in (ROOT / PACKAGE / room).glob("*.py")} - general


DATA_SETS = {path.stem for path in (ROOT / "datasets").iterdir() if path.is_dir()} - WORDS
NAMES = own_files("models") | own_files("tasks") | DATA_SETS


def names_in(name: str, tree: ast.AST) -> set[str]:
    """Returns the networks, tasks and data sets that a module imports or names in a string."""
    imported = {x.rpartition(".")[2] for x in IMPORTS[name]}
    texts = {
        node.value.partition("/")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return (imported | texts) & NAMES


def test_names_of_networks_tasks_and_data_sets_are_found():
    assert NAMES >= {"modnet", "dim", "gca", "bgmv2", "gfm", "pp_matting", "bisenet_v2", "soc"}
    assert NAMES >= {"composition_1k", "am2k", "p3m10k", "bg20k"}


def is_general(name: str) -> bool:
    """Returns whether a module serves all networks, tasks and data sets."""
    last = name.rpartition(".")[2]
    return name not in NAMING and last not in NAMES and not is_in(name, ("benchmark",))


@pytest.mark.parametrize("name", [name for name in MODULES if is_general(name)])
def test_general_code_names_no_network_task_or_data_set(name):
    assert names_in(name, TREES[name]) == set()


def test_no_test_module_imports_another():
    folder = ROOT / "tests"
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                forbidden = [x for x in names if is_test_module(folder, x)]
                if forbidden:
                    found[str(path.relative_to(folder))] = forbidden
    assert found == {}


def is_test_module(folder: Path, name: str) -> bool:
    """Returns whether the module `name` below `tests` holds tests or fixtures."""
    *rooms, last = name.split(".")[1:] or [""]
    is_file = folder.joinpath(*rooms, f"{last}.py").is_file()
    return is_file and (last.startswith("test_") or last == "conftest")
