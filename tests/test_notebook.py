"""The notebook runs from top to bottom, at a small size."""

import os
import shlex

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers import ROOT

PATH = ROOT / "docs" / "first_steps.ipynb"


def texts(cell):
    """Returns all that a cell printed."""
    return "".join(x.get("text", "") for x in cell.outputs)


def test_cells_hold_no_outputs():
    cells = nbformat.read(PATH, as_version=4).cells
    assert all(not cell.outputs for cell in cells if cell.cell_type == "code")


@pytest.mark.slow
def test_notebook_trains_cuts_out_measures_and_exports(folders, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    notebook = nbformat.read(PATH, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    fields = {
        "data.train.foregrounds": folders / "foregrounds",
        "data.train.backgrounds": folders / "backgrounds",
        "data.test.images": folders / "test",
        "data.foreground_colours": "as_is",
        "data.crop.size": 32,
        "data.crop.rescale": "(40,60)",
        "optimizer.schedule.warmup_steps": 0,
        "batch_size": 1,
        "allocator": False,
        "data.cache": tmp_path / "cache",
    }
    flags = shlex.join(f"--config.{name}={value}" for name, value in fields.items())
    setting = cells[0]
    setting.source = setting.source.replace("steps = 3600", "steps = 1")
    setting.source = setting.source.replace('fields = ""', f"fields = {flags!r}")
    export = cells[-1]
    export.source = export.source.replace("256x256", "64x64")
    assert flags in setting.source and "steps = 1 " in setting.source
    assert "64x64" in export.source
    for name, value in {
        "PYTHONPATH": str(ROOT),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }.items():
        monkeypatch.setitem(os.environ, name, value)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}})
    client.execute()
    preview = next(cell for cell in cells if cell.source.startswith("from pathlib"))
    assert "image/png" in preview.outputs[0].data
    assert "SAD" in texts(next(cell for cell in cells if cell.source.startswith('print(f"SAD')))
    assert (tmp_path / "runs" / "first" / "evaluation" / "best" / "index.html").is_file()
    assert (tmp_path / "first.onnx").stat().st_size > 1e6, texts(export)
