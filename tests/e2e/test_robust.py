"""What a run does where the world around it does not play along."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from rxpipe import cli

COUNT = """
graph: count
streams:
  main:
    - watch: {paths: [logs]}
    - read_lines
    - parse_json: {fields: {n: n}}
    - aggregate: {rows: count()}
    - to_terminal
"""

WRITE = """
graph: write
settings: {checkpoint: 50ms}
streams:
  main: [{watch: {paths: [logs]}}, read_lines, {parse_json: {fields: {n: n}}}, SINK]
"""


def test_graphs_of_one_name_in_two_folders_have_states_of_their_own(world: Any) -> None:
    for folder, rows in (("one", 3), ("two", 1)):
        world.write(f"{folder}/g.yaml", COUNT.replace("[logs]", f"[{folder}], patterns: ['*.jsonl']"))
        world.write(f"{folder}/a.jsonl", '{"n": 1}\n' * rows)
        shown = world.run("run", f"{folder}/g.yaml", "--once")
        assert (shown.returncode, shown.stdout.split()[-1]) == (0, str(rows)), shown.stderr


def test_the_state_of_another_graph_is_not_touched(world: Any) -> None:
    world.write("logs/a.jsonl", '{"n": 1}\n')
    world.write("a.yaml", COUNT)
    world.write("b.yaml", COUNT.replace("graph: count", "graph: other"))
    assert world.run("run", "a.yaml", "--once", "--state", "s.db").returncode == 0
    refused = world.run("run", "b.yaml", "--once", "--state", "s.db")
    assert refused.returncode == 1
    assert "must be of graph 'other'; got that of 'count'" in refused.stderr


def written(target: Path) -> list[object]:
    """The numbers of the records that are in the file or the database."""
    if not target.exists() or target.suffix != ".db":
        return [json.loads(line)["n"] for line in target.read_text().split("\n")[:-1]] if target.exists() else []
    with contextlib.closing(sqlite3.connect(target)) as db, contextlib.suppress(sqlite3.OperationalError):
        return [number for (number,) in db.execute("SELECT n FROM t ORDER BY rowid")]
    return []


@pytest.mark.parametrize(
    ("sink", "file"), [("{to_jsonl: out.jsonl}", "out.jsonl"), ("{to_sqlite: {path: o.db, table: t}}", "o.db")]
)
def test_a_sink_that_is_removed_meanwhile_ends_the_run_with_a_message(world: Any, sink: str, file: str) -> None:
    world.write("w.yaml", WRITE.replace("SINK", sink))
    world.write("logs/a.jsonl", '{"n": 1}\n')
    run = world.start("run", "w.yaml", "--state", "s.db")
    target = world.folder / file
    world.until(lambda: written(target), run.poll)
    target.unlink()
    with (world.folder / "logs/a.jsonl").open("a") as log:
        log.write('{"n": 2}\n')
    _, message = run.communicate(timeout=20)
    assert run.returncode == 1
    assert "it was removed meanwhile" in message


@pytest.mark.parametrize(
    ("sink", "file"),
    [
        ("{to_jsonl: logs/out.jsonl}", "out.jsonl"),
        ("{to_sqlite: {path: logs/o.db, table: t}}", "o.db"),
        ("to_stdout", "out.txt"),
    ],
)
def test_a_sink_in_the_watched_folder_does_not_feed_its_own_source(world: Any, sink: str, file: str) -> None:
    world.write("w.yaml", WRITE.replace("SINK", sink).replace("paths: [logs]", "paths: [logs, link]"))
    log = world.folder / world.write("logs/a.jsonl", "")
    (world.folder / "link").symlink_to("logs")
    target = world.folder / "logs" / file
    folder = "logs" if sink == "to_stdout" else "."
    with (world.folder / folder / "out.txt").open("w") as out, (world.folder / "messages").open("w") as messages:
        for turn in range(2):  # the second time the files are there before the first scan
            run = world.start("run", "w.yaml", "--state", "logs/s.db", stdout=out, stderr=messages)
            for number in (2 * turn, 2 * turn + 1):  # what was fed by the first would be there before the second
                with log.open("a") as more:
                    more.write(f'{{"n": {number}}}\n')
                world.until(lambda number=number: number in written(target), run.poll)
            run.send_signal(signal.SIGINT)
            assert run.wait(timeout=20) == 130
    told = [line.partition("watch: ")[2] for line in (world.folder / "messages").read_text().splitlines()]
    wanted = [f"{world.folder}/logs/{name} is written by this run: left out" for name in (file, "s.db")]
    assert sorted(told) == sorted(2 * wanted)
    assert written(target) == [0, 1, 2, 3]


def test_a_full_pipe_does_not_keep_ctrl_c_from_ending_the_run(world: Any) -> None:
    world.write("w.yaml", WRITE.replace("SINK", "to_stdout"))
    world.write("logs/a.jsonl", '{"n": "' + "x" * 1000 + '"}\n')
    with (world.folder / "logs/a.jsonl").open("a") as log:
        log.write('{"n": 2}\n' * 100_000)
    run = world.start("run", "w.yaml", "--state", "s.db")
    assert run.stdout is not None
    assert run.stdout.read(10)  # the pipe is filling, and nobody reads on
    started = time.monotonic()
    run.send_signal(signal.SIGINT)
    try:
        assert run.wait(timeout=20) == 130
    except subprocess.TimeoutExpired:
        run.kill()
        raise
    assert time.monotonic() - started < 10  # two seconds, on a machine that is busy with other things


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("once", [(), ("--once",)])
def test_a_backlog_that_was_interrupted_is_read_on(world: Any, number: int, once: tuple[str, ...]) -> None:
    lines = 60_000
    world.write("w.yaml", WRITE.replace("SINK", "{to_jsonl: out.jsonl}").replace("50ms", "20ms"))
    world.write("logs/a.jsonl", "".join(f'{{"n": {n}, "more": "{"x" * 300}"}}\n' for n in range(lines)))
    out = world.folder / "out.jsonl"
    run = world.start("run", "w.yaml", "--state", "s.db", *once)
    world.until(lambda: out.exists() and out.stat().st_size > 0, run.poll)
    began = time.monotonic()
    run.send_signal(number)
    code = run.wait(timeout=20)
    assert time.monotonic() - began < 10  # two seconds, on a machine that is busy with other things
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    assert 0 < out.read_bytes().count(b"\n") < lines
    assert world.run("run", "w.yaml", "--state", "s.db", "--once").returncode == 0
    assert [json.loads(line)["n"] for line in out.read_bytes().splitlines()] == list(range(lines))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_place_for_files(world: Any, closed: str) -> None:
    world.write("w.yaml", WRITE.replace("SINK", "{to_jsonl: out.jsonl}"))
    world.write("logs/a.jsonl", '{"n": 1}\nbroken\n')
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *world.command("run", "w.yaml", "--state", "s.db", "--once")]
    done = subprocess.run(command, env=world.environ, cwd=world.folder, check=False, timeout=20)
    assert (done.returncode, (world.folder / "out.jsonl").read_text()) == (0, '{"n":1}\n')


def test_no_name_of_a_file_moves_a_cursor(world: Any) -> None:
    world.write("w.yaml", WRITE.replace("SINK", "to_stdout") + "  dead: [{from: errors}, {to_dead_letters: d.jsonl}]\n")
    stops = WRITE.replace("{parse_json: {fields: {n: n}}}", "{parse_json: {}, on_error: stop}")
    world.write("stop.yaml", stops.replace("SINK", "to_stdout"))
    world.write("logs/a\x1b[2J\nb.log", "broken\n")
    shown = [
        world.run("run", "stop.yaml", "--once", "--state", "t.db"),
        world.run("run", "w.yaml", "--once", "--state", "s.db"),
        world.run("dead-letters", "list", "w.yaml", "--state", "s.db"),
    ]
    assert "logs/a\\x1b[2J\\nb.log" in shown[0].stderr
    assert "logs/a\\x1b[2J\\nb.log" in shown[2].stdout
    assert "\x1b" not in "".join(found.stdout + found.stderr for found in shown)


def test_ctrl_c_while_modules_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", interrupted)
    assert cli.main([]) == 130


def test_days_are_checked(world: Any) -> None:
    for text in ("yesterday", "2026-13-45", "2026-11-2", "it's"):
        refused = world.run("run", "usage", "--once", "--set", f"since={text}")
        assert refused.returncode == 78
        assert "must be a day such as 2026-01-31, or empty; got" in refused.stderr
