"""Every notebook runs from top to bottom, and none is committed with what it printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra `test`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
pytest.importorskip("ipykernel", reason="needs the extra `notebook`")

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
    CHECKS[path.stem]({cell.source.split("\n")[-1]: _result(cell) for cell in cells})


def check_first_graph(shown: dict[str, Any]) -> None:
    assert "<svg " in shown["graph"]["text/html"]
    assert shown['run.table("models")']["text/html"].count("<tr>") == 3  # the changed graph keeps two models
    assert shown["rxpipe.load_text(text) == levels"]["text/plain"] == "True"


def check_compose_operators(shown: dict[str, Any]) -> None:
    assert "<svg " in shown["shop"]["text/html"]
    assert "<svg " in shown["checked"]["text/html"]
    for table, rows in {"countries": 3, "goods": 3, "large": 2, "waits": 3}.items():
        assert shown[f'run.table("{table}")']["text/html"].count("<tr>") == 1 + rows
    refused = shown['[(error.step, error.reason) for error in recorded.values("errors")]']["text/plain"]
    assert "parse_json" in refused
    assert "rule 'positive'" in refused
    assert shown["rxpipe.load_text(text) == shop"]["text/plain"] == "True"
    assert (
        shown['tried(share("paid", "orders"), rows=[{"paid": 45, "orders": 50}, {"paid": 0, "orders": 0}])'][
            "text/plain"
        ]
        == "[{'paid': 45, 'orders': 50, 'share': 90.0}]"
    )
    assert "for _r in _rows:" in shown["print(code(short.plan()))"]["stdout"]
    assert shown['    print(case.name, "-", "failed" if outcome.failures else "passed")']["stdout"].endswith(
        "- passed\n"
    )
    assert "tick 2: expected x" in shown["print(failure)"]["stdout"]


def check_time_and_marbles(shown: dict[str, Any]) -> None:
    assert (
        shown['format_marbles(happened(ops.debounce("300ms")))']["text/plain"]
        == "'-------------e--------f-----h-----------i-|'"
    )
    drawn = shown["SVG(marbles_svg(sheet, UNTIL))"]["image/svg+xml"]
    labels = [text.text or "" for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    files = [
        file for family in ("time", "windows", "batching") for file in (ROOT / "operators" / family).glob("[!_]*.py")
    ]
    names = {file.stem for file in files}
    assert {"debounce", "window", "buffer"} <= names
    assert names <= {label.partition("(")[0] for label in labels}


def check_batch(shown: dict[str, Any]) -> None:
    assert "<svg " in shown["batch"]["text/html"]
    assert "'done': 40" in shown['states("batch.sqlite")']["text/plain"]
    assert (
        "'refused': 0"
        in shown[
            '{name: service.stats().get(name, 0) for name in ("prompts", "asked", "answered", "failed", "refused")}'
        ]["text/plain"]
    )
    assert "# batch" in shown['print(Path("out/report.md").read_text())']["stdout"]
    assert "'texts': 40" in shown['run.rows("done")']["text/plain"]


CHECKS = {
    "01-first-graph": check_first_graph,
    "02-compose-operators": check_compose_operators,
    "03-time-and-marbles": check_time_and_marbles,
    "07-batch": check_batch,
}
"""What each notebook must have shown, by the last lines of its cells."""


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
    """What a cell showed, by its kind, and what it printed as `stdout`."""
    shown: dict[str, Any] = next((output.data for output in cell.outputs if output.output_type == "execute_result"), {})
    return {**shown, "stdout": "".join(_texts(cell, "stdout"))}
