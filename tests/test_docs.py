"""The picture of the screen shows what the graph shows today; `make docs` draws it anew."""

from __future__ import annotations

import html
import importlib.util
import re
import shlex
import sys
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rxpipe.cli import main
from rxpipe.language.config import TOP
from rxpipe.language.values import TYPES
from rxpipe.registry import registry
from rxpipe.runtime.settings import Settings

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
    """Each test of its graphs passes, its picture of a failure is what is printed, its programs run."""
    page = (DOCS / "testing.md").read_text(encoding="utf-8")
    graphs = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [failure] = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    programs = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for number, graph in enumerate(graphs):
        Path(f"{number}.yaml").write_text(graph, encoding="utf-8")
    assert main(["test", *(f"{number}.yaml" for number in range(len(graphs)))]) == 0
    assert "failed  " not in capsys.readouterr().out
    Path("levels.yaml").write_text(graphs[0], encoding="utf-8")
    for program in programs:
        exec(program, {})
    Path("levels.yaml").write_text(graphs[0].replace('"--b--c|"', '"-b---c|"'), encoding="utf-8")
    assert main(["test", "levels.yaml", "-k", "kept"]) == 1
    assert capsys.readouterr().out.startswith(failure)


def test_the_page_on_guarantees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands and its program run, and what is refused is refused as shown."""
    page = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    [commands] = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [refusal] = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    Path("logs/a.jsonl").write_text('{"level": "INFO", "took": {"ms": 150}}\n', encoding="utf-8")
    [graph] = re.findall(
        r"^```yaml\n(graph: levels\n.*?)^```", (DOCS.parent / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    Path("levels.yaml").write_text(graph, encoding="utf-8")
    for command in commands.splitlines():
        assert main(command.split()[1:]) == 0
    exec(program, {})
    assert Path("slow.jsonl").read_text(encoding="utf-8") == '{"level":"INFO","ms":150}\n'
    Path("levels.yaml").write_text(graph.replace("ms > 100", "ms > 200"), encoding="utf-8")
    capsys.readouterr()
    assert main(["run", "levels.yaml", "--once", "--state", "s.db"]) == 1
    assert capsys.readouterr().err.split() == refusal.split()


def test_the_page_on_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its graph runs, its commands do what is said, and its program sends again what is mended."""
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    [graph] = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [commands] = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    broken = {1, 3}

    def checked(record: dict[str, Any]) -> dict[str, Any]:
        if record["id"] in broken:
            msg = f"broken for {record['id']}"
            raise ValueError(msg)
        return record

    prices = types.ModuleType("prices")
    vars(prices).update(checked=checked, BusyError=type("BusyError", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "prices", prices)
    monkeypatch.chdir(tmp_path)
    Path("orders").mkdir()
    lines = [f'{{"id": {n}, "price": {price}}}\n' for n, price in enumerate([5, 5, '"x"', 5])]
    Path("orders/a.jsonl").write_text("".join(lines), encoding="utf-8")
    Path("orders.yaml").write_text(graph, encoding="utf-8")
    run, listing, show, replay = commands.splitlines()
    assert main(run.split()[1:]) == 0
    assert main(listing.split()[1:]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert (listed[0].split()[0], [line.split("for ")[1][0] for line in listed]) == ("dead.jsonl:0", ["1", "3"])
    broken.discard(1)
    assert main(show.split()[1:]) == 0
    assert '"record": {' in capsys.readouterr().out
    assert main(replay.split()[1:]) == 0
    assert capsys.readouterr().out == "2 entries sent again, 1 error of theirs\n"
    broken.clear()
    exec(program, {})
    written = Path("checked.jsonl").read_text(encoding="utf-8").splitlines()
    assert written == [f'{{"id":{n},"price":5}}' for n in (0, 1, 3)]


def test_the_page_on_graph_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its graph counts an access log, and what it lists is what there is."""
    page = (DOCS / "graphs.md").read_text(encoding="utf-8")
    [graph] = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [commands] = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("access.yaml").write_text(graph, encoding="utf-8")
    Path("logs").mkdir()
    line = '10.0.0.1 - - [31/Jan/2026:23:30:{:02} +0000] "GET / HTTP/1.1" {} 7 "-" "curl"\n'
    Path("logs/access.log").write_text("".join([line.format(1, 200), line.format(5, 500), "no request\n"]))
    for command in commands.splitlines():
        assert main(shlex.split(command)[1:]) == 0
    told = Path("out/minutes.csv").read_text(encoding="utf-8").splitlines()
    assert told[1:] == ["1769902200.0,1769902260.0,200,1,7", "1769902200.0,1769902260.0,500,1,7"]
    assert [Path(f"out/{name}.jsonl").read_text().count("\n") for name in ("failed", "refused", "late")] == [1, 1, 0]

    keys, settings, names = (tuple(rows(page, head)) for head in ("key", "setting", "there"))
    assert tuple(key for key, *_ in keys) == TOP
    defaults = {field.name: "" if field.default is None else field.default for field in fields(Settings)}
    assert {name: default for name, default, *_ in settings} == defaults
    [types] = re.findall(r"The types are (.*?)\. `--set", page, re.DOTALL)
    assert tuple(re.findall(r"`(\w+)`", types)) == TYPES
    here = {name for row in names for name in re.findall(r"`(\w+)`", row[-1])}
    assert here - {"by"} <= {*registry.names()}


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table with this first head, without the quotes of a cell that is one name."""
    [table] = re.findall(rf"^\| {head} \|.*?\n\|[-|]+\n(.*?)(?:\n\n|\Z)", page, re.DOTALL | re.MULTILINE)
    return [
        [re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in row.split("|")[1:-1]] for row in table.splitlines()
    ]
