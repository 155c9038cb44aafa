"""The picture of the screen shows what the graph shows today; `make docs` draws it anew."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path

import pytest

from rxpipe.cli import main

DOCS = Path(__file__).parents[1] / "docs"


def texts(file: Path) -> list[str]:
    """What stands in a picture, whatever it is drawn with."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", file.read_text(encoding="utf-8"), re.DOTALL)
    return [html.unescape(text) for text in found]


def test_the_picture_of_the_screen(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_screen", DOCS / "make_screen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "screen.svg")
    shown = texts(DOCS / "screen.svg")
    assert texts(tmp_path / "screen.svg") == shown, "docs/screen.svg: differs; run make docs"
    drawn = (DOCS / "screen.svg").read_text(encoding="utf-8")
    assert "url(http" not in drawn  # a page that shows it loads nothing else
    assert "<script" not in drawn


def test_the_page_on_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each test of its graphs passes, its picture of a failure is what is printed, its program runs."""
    page = (DOCS / "testing.md").read_text(encoding="utf-8")
    graphs = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [failure] = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for number, graph in enumerate(graphs):
        Path(f"{number}.yaml").write_text(graph, encoding="utf-8")
    assert main(["test", *(f"{number}.yaml" for number in range(len(graphs)))]) == 0
    assert "failed  " not in capsys.readouterr().out
    Path("levels.yaml").write_text(graphs[0], encoding="utf-8")
    exec(program, {})
    Path("levels.yaml").write_text(graphs[0].replace('"--b--c|"', '"-b---c|"'), encoding="utf-8")
    assert main(["test", "levels.yaml", "-k", "kept"]) == 1
    assert capsys.readouterr().out.startswith(failure)
