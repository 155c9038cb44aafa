"""Secrets planted wherever a graph takes one: none comes out but where it was sent."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from rxpipe.errors import RxpipeError
from rxpipe.language.config import load
from rxpipe.language.hidden import Hidden, masked
from rxpipe.runtime.logs import configure
from rxpipe.testing import Receiver
from rxpipe.views.code import text as code_of
from rxpipe.views.notebook import graph_bundle
from rxpipe.views.schema import graph_schema
from rxpipe.views.show import as_json, show

CANARY = "cnry"
"""Stands in all of them."""

ENVIRON = {
    "BY_PARAM": "cnry-param-7f3a",
    "DIRECT": "cnry-direct-91bc",
    "IN_ADDRESS": "cnry-address/c0de",
    "IN_EXPRESSION": "cnry-expression-beef",
    "IN_TEXT": "cnry-text-f00d",
    "ODD": "cnry-\"odd\" 'one'\\%é-77",
    "IN_NUMBER": "cnry-number-1234",
}
SET = "cnry-set-02aa"
FILE = "cnry-file-55de"
GRAPH = """\
graph: secrets
params:
  one: {type: secret, default: {env: BY_PARAM}}
  two: {type: secret, default: {file: secret.txt}}
  three: {type: secret, required: true}
  odd: "${ODD}"
streams:
  rows:
    - watch: {paths: [in]}
    - read_lines
    - parse_json
    - where: "u != '${IN_EXPRESSION}' and u != '${three}'"
    - derive: {m: "n + 1"}
  sent:
    - from: rows
    - mask: {into: hash, key: {env: DIRECT}}
    - to_http:
        url: "URL/?key=${IN_ADDRESS}"
        headers: {Authorization: "Bearer ${one}", X-Two: "${two}", X-Direct: {env: DIRECT}}
  counted:
    - from: rows
    - to_prometheus: {metrics: {n: {type: gauge, value: "int('${IN_NUMBER}')", labels: [u]}}}
  failing:
    - from: rows
    - where: "int('${IN_NUMBER}') > 1"
    - to_log: {message: "u + '${IN_TEXT}'"}
  kept: [{from: rows}, {to_jsonl: "out/${odd}.jsonl"}, {to_sqlite: {path: out/rows.sqlite, table: t}}]
  errs: [{from: errors}, {to_jsonl: out/errors.jsonl}]
"""


@pytest.fixture
def server() -> Iterator[Receiver]:
    """Where secrets are sent to."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Receiver) -> Path:
    """A folder with the graph and its secrets."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**ENVIRON, "XDG_STATE_HOME": str(tmp_path / "state"), "RXPIPE_LOG_LEVEL": "trace"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"u":"ann","n":1}\n{"u":"bob","n":"x"}\n{bad\n')
    (tmp_path / "secret.txt").write_text(FILE + "\n")
    (tmp_path / "g.yaml").write_text(GRAPH.replace("URL", server.url))
    return tmp_path


def rxpipe(*arguments: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "rxpipe", *arguments], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    return done.stdout + done.stderr


def files(folder: Path) -> list[Path]:
    """What a run wrote."""
    return [path for name in ("state", "out") for path in (folder / name).rglob("*") if path.is_file()]


COMMANDS = [
    ["check", "g.yaml"],
    *(["show", "g.yaml", "--format", form] for form in ("text", "mermaid", "dot", "svg")),
    ["show", "g.yaml", "--json"],
    ["show", "g.yaml", "--code"],
    ["run", "g.yaml", "--for", "1s"],
    ["run", "g.yaml", "--for", "1s", "--log-format", "json"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_tells_one(command: list[str], folder: Path, server: Receiver) -> None:
    told = rxpipe(*command, "--set", f"three={SET}")
    assert CANARY not in told
    assert command[0] != "show" or "where" in told
    if command[0] == "run":
        told = rxpipe("state", "list", "g.yaml", "--set", f"three={SET}")
        told += rxpipe("state", "list", "g.yaml", "--json", "--set", f"three={SET}")
        assert "offset" in told
        assert CANARY not in told
        written = {path.name: path.read_bytes() for path in files(folder)}
        assert b"invalid literal for int() with base 10: '${IN_NUMBER}'" in written["errors.jsonl"]
        assert [name for name, data in written.items() if CANARY.encode() in data] == []
        assert server.received[0].headers["Authorization"] == f"Bearer {ENVIRON['BY_PARAM']}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "g.yaml", "--once", "--set", f"thre={SET}"],
        ["run", "g.yaml", "--once", "--set", SET],
        ["check", "broken.yaml", "--set", f"three={SET}"],
        ["check", "broken.yaml", "--set", f"three={SET}", "--json"],
    ],
    ids=" ".join,
)
def test_no_refusal_tells_one(arguments: list[str], folder: Path) -> None:
    broken = GRAPH.replace("u != '${three}'", "u != '${three}' +").replace("{into: hash", "{into: '${ODD}'")
    broken += "  bad: [{interval: '${IN_TEXT}'}, {take: '${IN_NUMBER}'}, {where: \"'${IN_TEXT}' ++ ${odd}\"}]\n"
    (folder / "broken.yaml").write_text(broken + "  worse: [{watch: {paths: {a: '${odd}'}}}, '${odd}']\n")
    told = rxpipe(*arguments)
    assert "three" in told or "name=value" in told or "broken.yaml" in told
    assert CANARY not in told


def test_python_tells_none(folder: Path, server: Receiver) -> None:
    """Drawings, generated code, the schema, status, metrics, and what a run raises."""
    lines: list[str] = []
    configure("TRACE", sink=lines.append)
    graph = load("g.yaml", values={"three": SET})
    plan = graph.plan(three=SET)
    told = [as_json(plan), code_of(plan), *(show(plan, form) for form in ("text", "mermaid", "dot", "svg"))]
    told += [str(graph_bundle(graph)), repr(graph), repr(plan), str(graph_schema()), graph.to_yaml()]
    with graph.run(values={"three": SET}, settings={"metrics": ":0"}) as run:
        deadline = time.monotonic() + 30
        while (not server.bodies or run.status().errors < 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert run.metrics_url is not None
        with urllib.request.urlopen(run.metrics_url, timeout=10) as answer:
            told.append(answer.read().decode())
        told += [repr(run.status()), str(run.status()), repr(run)]
    assert server.bodies  # and what is meant for the server came there
    assert lines
    assert [text for text in [*told, *lines] if CANARY in text] == []


def test_what_ends_a_run_tells_none(folder: Path) -> None:
    graph = load("g.yaml", values={"three": SET})

    def failing(source: Any) -> Any:
        raise ValueError(f"no route to {ENVIRON['IN_ADDRESS']}")

    graph = graph.replaced("kept", [*graph.streams["kept"], failing])
    with pytest.raises(RxpipeError) as raised:
        with graph.run(values={"three": SET}) as run:
            run.wait()
    assert "no route to ${IN_ADDRESS}" in str(raised.value)


@pytest.mark.parametrize("write", [str, repr, dumps, quote, quote_plus, lambda text: dumps(text, ensure_ascii=False)])
def test_however_it_is_written(write: Callable[[str], str]) -> None:
    Hidden(ENVIRON["ODD"], "${ODD}")
    assert "${ODD}" in masked(f"<{write(ENVIRON['ODD'])}>")
    assert CANARY not in masked(f"<{write(ENVIRON['ODD'])}>")
