"""`parallel` next to `read_lines`: its workers read the lines, and what comes of them is the same as without it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reactivex.subject import Subject

import rxpipe
from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.lease import Lease
from rxpipe.operators.flow._worker import BLOCK
from rxpipe.operators.flow.parallel import parallel
from rxpipe.testing import TestContext
from rxpipe.unread import Kept, Unread, identity
from tests.rxpipe.parts import collect, graph, until

STEPS = [
    ops.parse_json(fields={"a": "a", "n": {"path": "n", "type": "int"}}),
    ops.where("n != 3"),
    ops.derive(half="10 // (n - 4)"),
]
GROUPS = ops.aggregate(by=["a"], calls="count()", total="sum(n)", most="max(half)", first="first(n)", last="last(n)")


def line(n: int, size: int = 0) -> bytes:
    return json.dumps({"a": "xyz"[n % 3], "n": n % 10, "pad": "p" * size}).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Lines of about 700 KB, among them some that are wrong."""
    path = tmp_path / "logs" / "a.jsonl"
    path.parent.mkdir()
    lines = [line(n, n % 80) for n in range(10_000)]
    lines[77], lines[9_000] = b"{\n", b'{"n": "no"}\n'
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Unread]:
    """What was left unread in a run, without leases and descriptors."""
    made: list[Unread] = []

    def make(*values: Any) -> Unread:
        made.append(Unread(*values[:5]))
        return Unread(*values)

    monkeypatch.setattr("rxpipe.operators.files._reader.Unread", make)
    return made


def told(errors: list[Any]) -> list[tuple[Any, ...]]:
    return sorted((error.reason, error.path, error.start, error.end) for error in errors)


def run(log: Path, *steps: Any, apart: bool = False) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """The rows of the table and the errors of a run over a file; the lines may be a stream of their own."""
    errors: list[Any] = []
    lines = [ops.watch([str(log)]), ops.read_lines(block="64KB")]
    streams: dict[str, list[Any]] = (
        {"lines": lines, "main": [rxpipe.stream("lines"), *steps]} if apart else {"main": [*lines, *steps]}
    )
    streams["bad"] = [rxpipe.stream("errors"), collect(errors)]
    with rxpipe.Graph("test", streams).run(once=True) as running:
        running.wait()
        return running.rows("main"), told(errors)


@pytest.mark.parametrize("apart", [False, True])
def test_workers_read_the_lines(apart: bool, log: Path, left: list[Unread]) -> None:
    alone = run(log, *STEPS, GROUPS)
    assert len(alone[1]) > 500
    assert not left
    assert run(log, parallel([*STEPS, GROUPS]), apart=apart) == alone
    assert sum(element.end - element.start for element in left) > log.stat().st_size - 2 * 64 * 1024


def test_without_a_descriptor_to_spare_the_run_reads_the_lines(
    log: Path, left: list[Unread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> Kept:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("rxpipe.operators.files._blocks.Kept", refuse)
    assert run(log, parallel([*STEPS, GROUPS])) == run(log, *STEPS, GROUPS)
    assert not left


def test_records_come_in_order(log: Path, left: list[Unread]) -> None:
    rows: list[Any] = []
    log.write_bytes(b"".join(line(n)[:-2] + b', "m": %d}\n' % n for n in range(10_000)))
    steps = [ops.parse_json(fields={"m": "m"}), ops.where("m % 2 == 0")]
    read = [ops.watch([str(log)]), ops.read_lines(block="16KB")]
    with graph(*read, parallel(steps), collect(rows)).run(once=True) as running:
        running.wait()
    assert [row.m for row in rows] == list(range(0, 10_000, 2))
    assert left


def test_of_a_stream_with_several_readers_nothing_is_left_unread(log: Path, left: list[Unread]) -> None:
    streams: dict[str, list[Any]] = {
        "lines": [ops.watch([str(log)]), ops.read_lines(block="64KB")],
        "main": [rxpipe.stream("lines"), parallel([*STEPS, GROUPS])],
        "other": [rxpipe.stream("lines"), ops.parse_json()],
    }
    with rxpipe.Graph("test", streams).run(once=True) as running:
        running.wait()
        assert sum(row["calls"] for row in running.rows("main")) == 7_998
    assert not left


def test_what_was_counted_is_counted_once_after_a_stop(log: Path, tmp_path: Path) -> None:
    """A run that ends in the midst of it goes on where its last checkpoint was."""
    log.write_bytes(b"".join(line(n, 400) for n in range(60_000)))
    made = graph(ops.watch([str(log)]), ops.read_lines(block="64KB"), parallel([ops.parse_json(), GROUPS]))
    state = tmp_path / "state.sqlite"
    with made.run(state=state, settings={"checkpoint": "1ms"}) as running:
        until(lambda: running.status().checkpoints > 2)
        running.stop()
    with made.run(state=state, once=True) as running:
        running.wait()
        rows = running.rows("main")
    assert {row["a"]: (row["calls"], row["total"]) for row in rows} == {
        "xyz"[a]: (20_000, sum(n % 10 for n in range(a, 60_000, 3))) for a in range(3)
    }


# One element at a time


def outcome(element: Callable[[TestContext], Any], *steps: Any) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """The rows of the last table, and the errors."""
    context, source = TestContext(), Subject[Any]()
    tables: list[Any] = []
    with entered(context):
        source.pipe(*steps).subscribe(lambda table: tables.append(table.dicts()), scheduler=context.virtual)
    source.on_next(element(context))
    source.on_completed()
    context.virtual.advance_by(0)
    assert context.flow.blocks == 0
    return tables[-1], told(context.errors)


def unread_of(log: Path) -> Callable[[TestContext], Unread]:
    data = log.read_bytes()
    found = log.stat()
    with log.open("rb") as file:
        kept = Kept(file.fileno())

    def make(context: TestContext) -> Unread:
        lease = Lease(context.flow, len(data), str(log), 0, len(data))
        return Unread(str(log), identity(found.st_dev, found.st_ino), 0, len(data), data[-16_384:], kept, lease)

    return make


def read_of(log: Path) -> Callable[[TestContext], rxpipe.LineDelta]:
    data = log.read_bytes()

    def make(context: TestContext) -> rxpipe.LineDelta:
        lease = Lease(context.flow, len(data), str(log), 0, len(data))
        return rxpipe.LineDelta(str(log), "f", 0, len(data), data, lease)

    return make


def test_lines_of_a_file_that_was_renamed_are_read_by_the_run(log: Path) -> None:
    whole, element = outcome(read_of(log), *STEPS, GROUPS), unread_of(log)
    log.rename(log.with_suffix(".1"))
    log.write_bytes(b"{}\n")
    rows, errors = outcome(element, parallel([*STEPS, GROUPS], workers=1))
    assert rows == whole[0]
    assert len(errors) == len(whole[1])


def test_lines_that_are_gone_go_to_errors(log: Path) -> None:
    element, size = unread_of(log), log.stat().st_size
    log.write_bytes(b"")
    rows, errors = outcome(element, parallel([*STEPS, GROUPS], workers=1))
    reason = "the file was cut or written anew before these lines of it were read"
    assert (rows, errors) == ([], [(reason, str(log), 0, size)])


@pytest.mark.parametrize(
    ("function", "timeout", "reason"),
    [
        ("dies", None, "WorkerError: two workers died of the block, or while they had it"),
        ("hangs", "1s", "WorkerError: the block took longer than 'timeout'; its worker was replaced"),
    ],
)
def test_of_many_lines_only_the_block_is_lost_that_no_worker_can_do(
    function: str, timeout: str | None, reason: str, log: Path, tiresome: Path
) -> None:
    log.write_bytes(b"".join(b'{"n": %d}\n' % n for n in range(6, 60_006)) + b'{"n": 5}\n' + b'{"n": 7}\n' * 9)
    steps = [ops.parse_json(), ops.call(f"tiresome:{function}"), ops.aggregate(calls="count()", least="min(n)")]
    rows, [(said, path, start, end)] = outcome(unread_of(log), parallel(steps, workers=1, timeout=timeout))
    data = log.read_bytes()
    assert (said, path, end) == (reason, str(log), len(data))
    assert 0 < len(data) - start <= BLOCK
    assert rows == [{"calls": data[:start].count(b"\n"), "least": 6}]
