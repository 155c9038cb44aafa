"""Errors, from the command line: dead letters sent again, and sinks in trouble that recover without a restart."""

from __future__ import annotations

import contextlib
import functools
import json
import resource
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxpipe import cli
from rxpipe.testing import Answer, Receiver
from tests.e2e.conftest import ROOT, until

ROWS = 40
HELPER = """
import pathlib, time

def check(record):
    time.sleep(float(pathlib.Path("pause").read_text()))
    if str(record["n"]) in pathlib.Path("broken").read_text().split():
        raise ValueError(f"broken for {record['n']}")
    return record
"""
CHECKED = """
graph: checked
settings: {checkpoint: 20ms}
streams:
  main: [{watch: {paths: [logs]}}, read_lines, parse_json, {call: "helper:check"}, {to_jsonl: out.jsonl}]
  dead: [{from: errors}, {to_dead_letters: dead.jsonl}]
"""


class Checked:
    """A graph that calls a function which fails for some records."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.path = f"{ROOT}:{world.folder}"
        world.write("helper.py", HELPER)
        world.write("checked.yaml", CHECKED)
        world.write("pause", "0")
        world.write("logs/a.jsonl", "".join(f'{{"n": {n}}}\n' for n in range(ROWS)))

    def rxpipe(self, *arguments: str) -> str:
        done = self.world.run(*arguments, PYTHONPATH=self.path)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def letters(self, action: str, *arguments: str) -> str:
        return self.rxpipe("dead-letters", action, "checked.yaml", *arguments)

    def written(self) -> list[int]:
        return numbers(self.world.folder / "out.jsonl")


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.fixture
def checked(world: Any) -> Checked:
    return Checked(world)


def test_dead_letters(checked: Checked) -> None:
    checked.world.write("broken", "3 7")
    checked.rxpipe("run", "checked.yaml", "--once")
    listed = checked.letters("list").splitlines()
    assert [line.partition("main")[2] for line in listed] == [
        f"[3] call: ValueError: broken for {n}  {checked.world.folder}/logs/a.jsonl [{9 * n}:{9 * n + 8}]"
        for n in (3, 7)
    ]
    shown = json.loads(checked.letters("show", "dead.jsonl:0"))
    assert (shown["record"], shown["step"], shown["sent_again"]) == ({"n": 3}, "main[3] call", None)
    assert len(checked.letters("replay", "--dry-run", "--reason", "for 7").splitlines()) == 1
    checked.world.write("broken", "")
    assert checked.letters("replay", "--reason", "for 7", "--since", "1h") == "1 entries sent again\n"
    assert sorted(checked.written()) == [n for n in range(ROWS) if n != 3]
    assert checked.letters("list", "--until", "2020-01-01") == ""
    (left,) = map(json.loads, checked.letters("list", "--json").splitlines())
    assert (left["record"], left["sent_again"]) == ({"n": 3}, None)
    assert len(checked.letters("list", "--all").splitlines()) == 2
    assert "(sent again 20" in checked.letters("list", "--all")
    assert checked.letters("replay") == "1 entries sent again\n"
    assert checked.letters("replay") == "0 entries sent again\n"
    told = checked.world.run("dead-letters", "replay", "checked.yaml", "--id", "dead.jsonl:0", PYTHONPATH=checked.path)
    assert "dead.jsonl:0: was sent again 20" in told.stderr
    assert told.stdout == "0 entries sent again\n"
    checked.rxpipe("run", "checked.yaml", "--once")
    assert sorted(checked.written()) == [*range(ROWS)]


def test_what_the_command_refuses(checked: Checked, capsys: pytest.CaptureFixture[str]) -> None:
    checked.world.write("broken", "")
    refused = checked.world.run("dead-letters", "show", "checked.yaml", "dead.jsonl:9", PYTHONPATH=checked.path)
    assert (refused.returncode, "there must be an entry 'dead.jsonl:9'" in refused.stderr) == (1, True)
    refused = checked.world.run(
        "dead-letters", "replay", "checked.yaml", "--id", "dead.jsonl:9", PYTHONPATH=checked.path
    )
    assert (refused.returncode, "there must be an entry 'dead.jsonl:9'" in refused.stderr) == (1, True)
    with pytest.raises(SystemExit):
        cli.main(["dead-letters", "list", "checked.yaml", "--since", "yesterday"])
    assert "must be a time as 2026-01-31T12:00, or a duration ago as 2h; got 'yesterday'" in capsys.readouterr().err


def test_a_replay_that_is_killed_sends_nothing_twice(checked: Checked) -> None:
    checked.world.write("broken", " ".join(map(str, range(ROWS))))
    checked.rxpipe("run", "checked.yaml", "--once")
    checked.world.write("broken", "")
    checked.world.write("pause", "0.02")
    for part in (1, 2, 3):
        wanted = len(checked.written()) + 4 * part
        replaying = checked.world.start("dead-letters", "replay", "checked.yaml", PYTHONPATH=checked.path)
        until(functools.partial(lambda least: len(checked.written()) >= least, wanted), replaying.poll)
        replaying.send_signal(signal.SIGKILL)
        replaying.communicate()
    checked.world.write("pause", "0")
    checked.letters("replay")
    assert sorted(checked.written()) == [*range(ROWS)]
    assert checked.letters("list") == ""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Trouble:
    """A sink that cannot deliver for a while."""

    step: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, process: Any) -> None: ...

    def end(self, process: Any) -> None: ...

    def delivered(self) -> list[int]:
        raise NotImplementedError


class Locked(Trouble):
    """A database that another program has locked."""

    step = "to_sqlite: {path: out.db, table: t}"

    def begin(self, process: Any) -> None:
        self._other = sqlite3.connect(self.folder / "out.db", isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")

    def end(self, process: Any) -> None:
        self._other.execute("ROLLBACK")
        self._other.close()

    def delivered(self) -> list[int]:
        with contextlib.closing(sqlite3.connect(self.folder / "out.db")) as db:
            with contextlib.suppress(sqlite3.OperationalError):
                return [n for (n,) in db.execute("SELECT n FROM t ORDER BY _rowid")]
            return []


class Full(Trouble):
    """A file that may not grow any more; so are all others of the process."""

    step = "to_jsonl: out.jsonl"

    def begin(self, process: Any) -> None:
        self._limit = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        size = (self.folder / "out.jsonl").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + 3, self._limit[1]))

    def end(self, process: Any) -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, self._limit)

    def delivered(self) -> list[int]:
        return numbers(self.folder / "out.jsonl")


class Down(Trouble):
    """A server that is overloaded."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = Overloaded()
        self.step = f"to_http: {{url: '{self.server.url}', concurrency: 1}}"

    def begin(self, process: Any) -> None:
        self.server.down = True

    def end(self, process: Any) -> None:
        self.server.down = False

    def delivered(self) -> list[int]:
        return [json.loads(line)["n"] for body in self.server.bodies for line in body.splitlines()]


class Overloaded(Receiver):
    """A server that takes nothing while it is down."""

    down = False

    def _take(self, request: Any) -> Answer:
        return Answer(503) if self.down else super()._take(request)


@pytest.fixture(params=[Locked, Full, Down], ids=["locked", "full", "down"])
def trouble(request: pytest.FixtureRequest, world: Any) -> Iterator[Trouble]:
    made = request.param(world.folder)
    yield made
    if isinstance(made, Down):
        made.server.close()


def degraded(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return b'rxpipe_degraded{graph="sent"} 1' in answer.read()


def append(world: Any, *rows: int) -> None:
    with (world.folder / "logs" / "a.jsonl").open("a") as file:
        file.writelines(f'{{"n": {n}}}\n' for n in rows)


def started(world: Any, trouble: Trouble, *arguments: str) -> tuple[Any, Callable[[], bool]]:
    world.write(
        "sent.yaml",
        f"graph: sent\nstreams:\n  main: [{{watch: {{paths: [logs]}}}}, read_lines, parse_json, {{{trouble.step}}}]\n",
    )
    port = free_port()
    process = world.start("run", "sent.yaml", "--metrics", f"127.0.0.1:{port}", *arguments)

    def told() -> bool:
        with contextlib.suppress(OSError):
            return degraded(port)
        return False

    return process, told


def test_a_sink_recovers_without_a_restart(world: Any, trouble: Trouble) -> None:
    world.write("logs/a.jsonl", '{"n": 0}\n')
    process, told = started(world, trouble)
    until(lambda: trouble.delivered() == [0], process.poll)
    trouble.begin(process)
    append(world, 1, 2)
    until(told, trouble.delivered)
    append(world, 3)
    trouble.end(process)
    until(lambda: trouble.delivered() == [0, 1, 2, 3], trouble.delivered)
    until(lambda: not told(), process.poll)
    process.send_signal(signal.SIGINT)
    _, told_of = process.communicate(timeout=20)
    assert process.returncode == 130, told_of
    assert trouble.delivered() == [0, 1, 2, 3]


def test_a_run_that_ends_undelivered_says_so_and_the_next_goes_on(world: Any) -> None:
    port, trouble = free_port(), Trouble(world.folder)
    trouble.step = f"to_http: {{url: 'http://127.0.0.1:{port}'}}"
    world.write("logs/a.jsonl", '{"n": 0}\n')
    process, _ = started(world, trouble, "--for", "300ms")
    _, told = process.communicate(timeout=20)
    assert process.returncode == cli.UNDELIVERED, told
    assert "the run ended while not all was as it should be: main[3] to_http: ConnectError" in told
    with Receiver(port=port) as server:
        process, _ = started(world, trouble, "--for", "300ms")
        _, told = process.communicate(timeout=20)
        assert (process.returncode, server.bodies) == (0, [b'{"n":0}\n']), told


def test_a_drain_that_takes_long_says_so_and_a_second_interrupt_ends_it(world: Any) -> None:
    trouble = Trouble(world.folder)
    trouble.step = f"to_http: {{url: 'http://127.0.0.1:{free_port()}'}}"
    world.write("logs/a.jsonl", '{"n": 0}\n')
    world.environ["RXPIPE_DRAIN_TIMEOUT"] = "1m"
    process, told = started(world, trouble)
    until(told, process.poll)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("finishing what was read, for 1m at most; Ctrl-C again ends at once" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_run_that_ends_well_says_nothing(world: Any) -> None:
    world.write("logs/a.jsonl", '{"n": 0}\n')
    began = time.monotonic()
    process, _ = started(world, Full(world.folder), "--for", "300ms")
    _, told = process.communicate(timeout=20)
    assert (process.returncode, "as it should be" in told) == (0, False)
    assert time.monotonic() - began < 20
