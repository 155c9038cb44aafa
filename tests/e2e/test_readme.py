"""What the README says is tried: its graphs and programs run, its commands are understood, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rxpipe
from rxpipe.cli import main, parser
from rxpipe.registry import registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES = [
    {"level": "INFO", "took": {"ms": 20}},
    {"level": "WARN", "took": {"ms": 300}},
    {"level": "INFO", "took": {"ms": 150}},
]
TOLD = "[{'level': 'INFO', 'calls': 2, 'ms': 85.0}, {'level': 'WARN', 'calls': 1, 'ms': 300.0}]"
SLOW = [{"level": "WARN", "ms": 300}, {"level": "INFO", "ms": 150}]


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def commands() -> list[list[str]]:
    """The lines of the shell blocks, without what is said of them."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with logs, a home of its own, and the README's graph."""
    (tmp_path / "logs").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    (tmp_path / "logs" / "a.jsonl").write_text(text, encoding="utf-8")
    [graph] = blocks("yaml")
    (tmp_path / "levels.yaml").write_text(graph, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path


def slow(folder: Path) -> list[object]:
    return [json.loads(line) for line in (folder / "slow.jsonl").read_text(encoding="utf-8").splitlines()]


def test_graph_in_yaml(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "levels.yaml"]) == 0
    assert "good (3 streams, 10 steps)" in capsys.readouterr().out
    for form in ("text", "mermaid", "dot"):
        assert main(["show", "levels.yaml", "--format", form]) == 0
        assert "parse_json" in capsys.readouterr().out
    for _ in range(2):  # the next run goes on where this one ended
        assert main(["run", "levels.yaml", "--once"]) == 0
        shown = capsys.readouterr().out
        assert re.search(r"INFO +2 +85", shown)
        assert slow(folder) == SLOW


def test_graph_in_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = compile(blocks("python")[0], "README.md", "exec")
    for _ in range(2):
        exec(program, {})  # it is our own
        assert capsys.readouterr().out.strip() == TOLD
        assert slow(folder) == SLOW


def test_both_are_one_graph(folder: Path) -> None:
    made: dict[str, rxpipe.Graph] = {}
    program = blocks("python")[0].partition("with graph.run")[0]
    exec(compile(program, "README.md", "exec"), made)
    written, graph = rxpipe.load("levels.yaml"), made["graph"]
    assert graph.streams["records"] == written.streams["records"]
    assert graph.streams["slow"] == written.streams["slow"]
    assert [*graph.streams["levels"]] == written.streams["levels"][:-1]  # only the file shows it on the terminal


def test_an_operator_of_ones_own(folder: Path) -> None:
    (folder / "my_operators").mkdir()
    (folder / "my_operators" / "only_errors.py").write_text(blocks("python")[1], encoding="utf-8")
    text = """\
graph: errors
plugins: [./my_operators]
streams:
  bad:
    - watch: {paths: [logs]}
    - read_lines
    - parse_json: {fields: {severity: level}}
    - only_errors: {field: severity}
    - to_stdout
"""
    (folder / "errors.yaml").write_text(text, encoding="utf-8")
    (folder / "logs" / "b.jsonl").write_text('{"level": "ERROR"}\n' * 2, encoding="utf-8")
    # A process of its own: the operator stays registered for the rest of it.
    command = [sys.executable, "-m", "rxpipe", "run", "errors.yaml", "--once"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['{"severity":"ERROR"}'] * 2


@pytest.mark.parametrize("words", [words for words in commands() if words[0].endswith("rxpipe")], ids=" ".join)
def test_command_is_understood(words: list[str], folder: Path) -> None:
    assert words[0].removeprefix(".venv/bin/") == "rxpipe"
    parsed = parser().parse_args(words[1:])
    named = getattr(parsed, "graph", [])
    for graph in named if isinstance(named, list) else [named]:
        assert rxpipe.load(graph, sets=getattr(parsed, "set", None) or ()).streams


def test_make_knows_its_targets() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = {words[1] for words in commands() if words[0] == "make"} | set(re.findall(r"`make (\w+)`", README))
    assert {"run", "test"} <= said <= targets


def test_extras_are_offered() -> None:
    installed = {extra for words in commands() if words[0].endswith("pip") for extra in re.findall(r"\w+", words[-1])}
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {"batch"} <= installed <= offered.keys()


def test_options_in_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["run", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    with pytest.raises(SystemExit):
        parser().parse_args(["show", "--help"])
    known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= known


def test_operators_in_the_text() -> None:
    named = set(re.findall(r"`(to_\w+)`", README)) | set(re.findall(r"ops\.(\w+)\(", README))
    assert named <= set(registry.names())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        assert target.startswith("https://") or (page.parent / path).exists(), target
        assert path or anchor in headings, target
