"""A user's own graphs on the command line: what is wrong is told, what is secret is not, what is saved is found."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from typing import Any

import pytest

COPY = """
graph: copy
streams:
  records:
    - watch: {paths: [logs], patterns: ["*.jsonl"]}
    - debounce: {quiet: 10ms, at_most: 50ms}
    - read_lines
    - parse_json: {fields: {n: {path: n, type: int}}}
  file: [{from: records}, {to_jsonl: out.jsonl}]
  table: [{from: records}, {to_sqlite: {path: out.db, table: rows}}]
"""


@pytest.fixture
def copying(world: Any) -> Any:
    """A world with a graph that copies records from a folder to a file and a table."""
    world.write("copy.yaml", COPY)
    world.write("logs/a.jsonl", '{"n": 1}\n{"n": 2}\n')
    return world


def copied(world: Any) -> tuple[list[int], list[int]]:
    """What is in the file and in the table."""
    lines = (world.folder / "out.jsonl").read_text().splitlines()
    with sqlite3.connect(world.folder / "out.db") as db:
        rows = [n for (n,) in db.execute("SELECT n FROM rows ORDER BY rowid")]
    db.close()
    return [json.loads(line)["n"] for line in lines], rows


def test_twice_does_not_double(copying: Any) -> None:
    for wanted in ([1, 2], [1, 2], [1, 2, 3]):
        if len(wanted) == 3:
            with (copying.folder / "logs/a.jsonl").open("a") as file:
                file.write('{"n": 3}\n')
        done = copying.run("run", "copy.yaml", "--once")
        assert (done.returncode, done.stderr) == (0, "")
        assert copied(copying) == (wanted, wanted)


def test_state_is_listed_and_reset(copying: Any) -> None:
    assert copying.run("state", "list", "copy.yaml").returncode == 1
    copying.run("run", "copy.yaml", "--once")
    file = next((copying.state / "rxpipe").glob("copy-*.sqlite"))
    for name in ("copy", "copy.yaml", str(file)):
        listed = copying.run("state", "list", name)
        assert listed.returncode == 0
        lines = listed.stdout.replace(str(copying.folder), ".").splitlines()
        assert lines[0] == str(file).replace(str(copying.folder), ".")
        assert lines[1:3] == [
            "records[2] read_lines: offset of a file, 1 in all",
            "    offset  size                    changed",
        ]
        assert re.fullmatch(r"    +18 +18  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00  ./logs/a.jsonl", lines[3])
        assert lines[4:] == [
            "file[1] to_jsonl: position in out.jsonl: 16 bytes",
            "table[1] to_sqlite: position in table rows of out.db: 2 rows",
        ]
    rows = [json.loads(line) for line in copying.run("state", "list", "copy", "--json").stdout.splitlines()]
    assert {row["kind"] for row in rows} == {"source", "sink"}
    wrong = copying.run("state", "reset", "copy", "records[2] read_line")
    assert (wrong.returncode, "did you mean 'records[2] read_lines'?" in wrong.stderr) == (1, True)
    assert copying.run("state", "reset", "copy", "records[2] read_lines").returncode == 0
    assert "read_lines" not in copying.run("state", "list", "copy").stdout
    copying.run("run", "copy.yaml", "--once")
    assert copied(copying)[0] == [1, 2, 1, 2]
    assert copying.run("state", "reset", "copy").returncode == 0
    assert copying.run("state", "list", "copy").stdout == f"{file}\n"


def test_a_second_run_is_refused_with_the_process_of_the_first(copying: Any) -> None:
    first = copying.start("run", "copy.yaml", "--state", "s.db")
    copying.until((copying.folder / "s.db.lock").is_file, lambda: os.listdir(copying.folder))
    copying.until((copying.folder / "out.jsonl").exists, lambda: os.listdir(copying.folder))
    second = copying.run("run", "copy.yaml", "--state", "s.db")
    assert (second.returncode, f"process {first.pid}" in second.stderr) == (1, True)
    assert copying.run("state", "list", "s.db").returncode == 0
    assert f"process {first.pid}" in copying.run("state", "reset", "s.db").stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=20) == 130


def test_a_wrong_graph_tells_all_its_problems(world: Any) -> None:
    graph = """
graph: wrong
streams:
  one:
    - watch: {paths: [logs], patern: ["*.jsonl"]}
    - read_line
    - parse_json: {fields: 7}
  two:
    - from: onee
    - throttle: 3 parsecs
    - where: n >
"""
    world.write("wrong.yaml", graph)
    for command in ("run", "check"):
        done = world.run(command, "wrong.yaml")
        assert done.returncode == 78
        for wanted in (
            "wrong.yaml:5:",
            "did you mean 'patterns'?",
            "did you mean 'read_lines'?",
            "did you mean 'one'?",
            "3 parsecs",
            "wrong.yaml:11:",
        ):
            assert wanted in done.stderr
        assert "Traceback" not in done.stderr


def test_a_step_that_raises_is_named_with_its_line(world: Any) -> None:
    world.write("ops/boom.py", PLUGIN.format(name="boom").replace("2 * n", "{}['gone']"))
    world.write("boom.yaml", "graph: boom\nplugins: [ops]\nstreams:\n  one:\n    - interval: 10ms\n    - boom\n")
    done = world.run("run", "boom.yaml")
    assert done.returncode == 1
    assert "boom.yaml:6:7: one[1] boom: KeyError: 'gone'" in done.stderr


def test_a_step_that_cannot_begin_is_named_and_not_one_behind_it(world: Any) -> None:
    world.write("ops/unready.py", UNREADY)
    steps = "[{from: records}, {where: n > 1}, unready, {derive: {m: n}}, {buffer: 9}]"
    graph = COPY.partition("  file:")[0].replace("streams:", "plugins: [ops]\nstreams:")
    world.write("copy.yaml", graph + f"  rich: {steps}\n")
    done = world.run("run", "copy.yaml", "--once")
    assert done.returncode == 1
    assert "rich[2] unready: OSError: not there" in done.stderr


UNREADY = '''
from reactivex import Observable
from rxpipe import Batch, operator
from rxpipe.fusion.lift import lift

@operator
def unready(source: Observable[Batch]) -> Observable[Batch]:
    """Cannot begin."""
    def make(context):
        raise OSError("not there")
    return lift(source, make)
'''


def test_an_error_tells_its_line(world: Any) -> None:
    world.write(
        "copy.yaml", COPY.partition("  file:")[0].replace("- read_lines", "- read_lines: {max_line: 40B}") + ERRORS
    )
    bad = '{"n": "x"}'
    world.write("logs/a.jsonl", f'{{"n": 1}}\n{bad}\n{{"n": 0}}\n{"x" * 50}\n{{"n": 2}}\n')
    assert world.run("run", "copy.yaml", "--once").returncode == 0
    errors = [json.loads(line) for line in (world.folder / "errors.jsonl").read_text().splitlines()]
    found = {error["step"]: (error["path"], error["start"], error["end"]) for error in errors}
    path = str(world.folder / "logs/a.jsonl")
    assert found == {
        "records[2] read_lines": (path, 29, 80),
        "records[3] parse_json": (path, 9, 9 + len(bad)),
        "ratio[1] derive": (path, 20, 28),
    }


ERRORS = """
  ratio: [{from: records}, {derive: {ratio: 1 / n}}]
  bad: [{from: errors}, {to_jsonl: errors.jsonl}]
"""


def test_the_log_as_json(world: Any) -> None:
    world.write("logs/a.jsonl", "broken\n")
    world.write("copy.yaml", COPY)
    done = world.run("run", "copy.yaml", "--once", "--log-format", "json", "--log-level", "DEBUG")
    assert done.returncode == 0
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [r["level"] for r in records if "no valid record" in r["message"]] == ["WARNING"]
    assert all({"time", "level", "message"} <= set(record) for record in records)


SECRET = "hunter2-hunter2"


def test_a_secret_never_shows(world: Any) -> None:
    graph = """
graph: secret
params:
  token: {type: str, default: "${TOKEN}", secret: true}
streams:
  one:
    - interval: 10ms
    - tap: {call: "boom:${TOKEN}"}
    - to_jsonl: "${TOKEN}/out.jsonl"
"""
    world.write("secret.yaml", graph)
    world.write("wrong.yaml", graph.replace("interval: 10ms", 'interval: "${TOKEN}"').replace("tap:", "tapp:"))
    world.write(
        "run.yaml", "graph: run\nstreams:\n  one: [{interval: 10ms}, {take: 3}, {to_jsonl: '${TOKEN}/out.jsonl'}]\n"
    )
    world.environ["TOKEN"] = SECRET
    (world.folder / SECRET).mkdir()
    world.run("run", "run.yaml")
    assert (world.folder / SECRET / "out.jsonl").is_file()
    (world.folder / SECRET / "out.jsonl").unlink()
    (world.folder / SECRET / "out.jsonl").mkdir()
    for arguments in (
        ("check", "secret.yaml"),
        ("run", "secret.yaml"),
        ("show", "secret.yaml"),
        ("check", "wrong.yaml"),
        ("run", "wrong.yaml"),
        ("show", "run.yaml", "--format", "mermaid"),
        ("run", "run.yaml", "--log-level", "TRACE"),
        ("state", "list", "run"),
        ("state", "list", "run.yaml"),
        ("state", "list", "run", "--json"),
    ):
        done = world.run(*arguments)
        assert SECRET not in done.stdout + done.stderr, arguments


PLUGIN = '''
from reactivex import Observable
from reactivex import operators as rx
from rxpipe import operator

@operator
def {name}(source: Observable[int]) -> Observable[int]:
    """Twice the number."""
    return source.pipe(rx.map(lambda n: 2 * n))
'''


def test_plugins(world: Any) -> None:
    world.write("ops/twice.py", PLUGIN.format(name="twice"))
    world.write("ops/broken.py", "import no_such_module\n")
    graph = "graph: p\nplugins: [./ops]\nstreams:\n  one: [{interval: 10ms}, {take: 3}, NAME, {to_stdout: text}]\n"
    world.write("p.yaml", graph.replace("NAME", "twice"))
    done = world.run("run", "p.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["value=0", "value=2", "value=4"], done.stdout
    assert "no_such_module" in done.stderr
    world.write("q.yaml", graph.replace("NAME", "broken"))
    done = world.run("run", "q.yaml")
    assert done.returncode == 78
    assert "no_such_module" in done.stderr
