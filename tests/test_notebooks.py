"""Every notebook runs from top to bottom, and none is committed with what it printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # Jupyter's own: of loops, of sockets, of what is to be moved one day
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = executed(path, tmp_path, monkeypatch)
    assert all(cell.execution_count for cell in cells)
    assert not [text for cell in cells for text in _texts(cell, "stderr")]
    shown = {cell.source.split("\n")[-1]: _result(cell) for cell in cells}
    if path.stem == "01-first-graph":
        assert "<svg " in shown["graph"]["text/html"]
        assert shown['run.table("models")']["text/html"].count("<tr>") == 3  # the changed graph keeps two models
        assert shown["rxpipe.load_text(text) == levels"]["text/plain"] == "True"


def executed(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The code cells after a run of the notebook."""
    _kernel(folder, monkeypatch)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel `python3` that is the interpreter of the tests, whatever else is installed; nothing of the user's."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(folder / "jupyter" / "kernels" / "python3")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)


def _texts(cell: Any, stream: str) -> list[str]:
    return [output.text for output in cell.outputs if output.output_type == "stream" and output.name == stream]


def _result(cell: Any) -> Any:
    return next((output.data for output in cell.outputs if output.output_type == "execute_result"), {})
