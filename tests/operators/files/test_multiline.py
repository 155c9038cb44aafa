"""`multiline`: however a file is torn into blocks, and wherever a run restarts, the records are the same."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reactivex.subject import Subject

import rxpipe
from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.files import _boundaries
from rxpipe.operators.files.multiline import multiline
from rxpipe.testing import TestContext
from tests.faults.harness import until


class Running:
    """A subscription that blocks are pushed to."""

    def __init__(self, states: Any = (), **options: Any) -> None:
        self.context = TestContext(states)
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        self.ended: list[Any] = []
        with entered(self.context):
            self.subscription = self.source.pipe(multiline(**options)).subscribe(
                self.note, self.ended.append, lambda: self.ended.append("completed")
            )

    def note(self, element: Any) -> None:
        if isinstance(element, LineDelta):
            assert element.end - element.start == len(element.data)
            assert element.lease is not None
            element = element._replace(lease=None)
        self.seen.append(element)

    def push(self, data: bytes, start: int, path: str = "f", *, unfinished: bool = False, file: str = "") -> None:
        end = start + len(data)
        lease = Lease(self.context.flow, len(data), path, start, end)
        self.source.on_next(LineDelta(path, file or path, start, end, data, lease, unfinished=unfinished))

    def records(self) -> list[tuple[int, bytes]]:
        """Offset and line of each record."""
        found = []
        for delta in self.seen:
            at = delta.start
            for line in delta.data.split(b"\n")[: None if delta.unfinished else -1]:
                found.append((at, line))
                at += len(line) + 1
        return found


def expected(
    lines: list[bytes],
    begins: Callable[[bytes], bool] | None,
    ends: Callable[[bytes], bool] | None,
    most: int,
    size: int,
) -> list[tuple[int, bytes]]:
    """The records of some lines, one line after the other."""
    records: list[list[bytes]] = []
    ended = True
    for line in lines:
        new = ended or (begins is not None and begins(line))
        now = [] if new else records[-1]
        if not now or len(now) == most or sum(map(len, now)) + len(now) + len(line) + 1 > size:
            records.append([line])
        else:
            now.append(line)
        ended = ends is not None and ends(line)
    offsets = itertools.accumulate((len(b"\n".join(record)) + 1 for record in records), initial=0)
    return [
        (at, b"\n".join(record).replace(b"\r\n", b"\v\v").replace(b"\n", b"\v"))
        for at, record in zip(offsets, records, strict=False)
    ]


def found_in(text: str) -> Callable[[bytes], bool]:
    pattern = re.compile(text.encode())
    return lambda line: pattern.search(line.removesuffix(b"\r")) is not None


STARTS = (r"^a", "a", r"^\S", r"\s+b", r"^(?! )", r"a(?=\s)", "^a|b$", r"a\s*$", "x*", r"^[^b]+$", r"(?s)a.b", "^")
ENDS = ("b$", "b", r"\s", r"^a?$", r"(?<!a)b", r"^a\s")
MODES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"indented": True}, lambda line: line[:1] not in (b" ", b"\t"), None),
    *(({"start": text}, found_in(text), None) for text in STARTS),
    *(({"end": text}, None, found_in(text)) for text in ENDS),
]
LINES = st.lists(st.text("ab \t\r", max_size=6).map(str.encode), max_size=14)


@given(
    LINES, st.sampled_from(MODES), st.integers(0, 2**14), st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**14)
)
def test_torn_into_blocks_with_restarts(
    lines: list[bytes], mode: tuple[dict[str, Any], Any, Any], cuts: int, most: int, size: int, restarts: int
) -> None:
    options = {**mode[0], "max_lines": most, "max_bytes": size, "join": "\v"}
    run = Running(**options)
    found: list[tuple[int, bytes]] = []
    block, start = b"", 0
    for number, line in enumerate(lines):
        block += line + b"\n"
        if cuts >> number & 1 or number == len(lines) - 1:
            run.push(block, start)
            start += len(block)
            block = b""
        if restarts >> number & 1 and not block:
            states = run.context.checkpoint()
            found += run.records()
            run.subscription.dispose()
            run = Running(states, **options)
    run.source.on_completed()
    assert found + run.records() == expected(lines, mode[1], mode[2], most, size)


@given(
    st.lists(st.text("ab \n", max_size=9), max_size=5), st.sampled_from([r"^a", r"a\s*b", "b$", r"^\s", "^b*", r"\n"])
)
@example(["a\nb"], r"a\s*b")
def test_a_block_is_searched_like_its_lines(texts: list[str], pattern: str) -> None:
    block = "".join(f"{text}\n" for text in texts).encode()
    compiled = re.compile(pattern.encode(), re.MULTILINE)
    lines = re.findall(rb".*\n", block)
    found = [(len(b"".join(lines[:at])), at) for at, line in enumerate(lines) if compiled.search(line[:-1])]
    assert _boundaries.before(compiled)(block) == [begin for begin, _ in found]
    assert _boundaries.behind(compiled)(block) == [begin + len(lines[at]) for begin, at in found]


def test_what_is_held_goes_on_after_the_timeout() -> None:
    run = Running(indented=True, timeout="2s")
    run.push(b"a\n b\n", 0)
    run.context.virtual.advance_by(1.5)
    run.push(b" c\n", 5)
    run.push(b"x\n", 0, path="g")
    run.context.virtual.advance_by(1.9)
    assert run.seen == []
    run.context.virtual.advance_by(0.2)
    assert run.seen == [LineDelta("f", "f", 0, 8, b"a  b  c\n"), LineDelta("g", "g", 0, 2, b"x\n")]
    run.push(b" late\n", 8)
    run.source.on_completed()
    assert run.records()[-1] == (8, b" late")


def test_a_restart_gives_what_is_held_the_whole_timeout() -> None:
    run = Running(indented=True, timeout="2s")
    run.push(b"a\n", 0)
    states = run.context.checkpoint()  # which requires that nothing is leased
    assert run.seen == []
    again = Running(states, indented=True, timeout="2s")
    again.context.virtual.advance_by(1)
    again.push(b" b\nc\n", 2)
    assert again.records() == [(0, b"a  b")]
    again.context.virtual.advance_by(3)
    assert again.records() == [(0, b"a  b"), (5, b"c")]
    assert again.context.checkpoint() == [{}]


def test_a_gap_and_a_gone_origin_end_a_record() -> None:
    run = Running(start="^a")
    run.push(b"a\nb\n", 0)
    run.push(b"c\n", 9)
    run.push(b"a\n", 0, path="g")
    run.source.on_next(OriginGone("f"))
    assert run.seen == [LineDelta("f", "f", 0, 4, b"a b\n"), LineDelta("f", "f", 9, 11, b"c\n"), OriginGone("f")]
    run.source.on_next(OriginGone("g"))
    assert run.seen[3:] == [LineDelta("g", "g", 0, 2, b"a\n"), OriginGone("g")]


def test_a_renamed_file_goes_on() -> None:
    run = Running(indented=True)
    run.push(b"a\n", 0, path="x.log", file="1")
    run.push(b" b\nc\n", 2, path="x.log.1", file="1")
    assert run.records() == [(0, b"a  b")]


def test_windows_line_ends_stay_at_the_end_of_a_record() -> None:
    run = Running(start="^a$")
    run.push(b"a\r\nb\r\na\r\n", 0)
    run.source.on_completed()
    assert run.seen == [LineDelta("f", "f", 0, 6, b"a  b\r\n"), LineDelta("f", "f", 6, 9, b"a\r\n")]


def test_an_unfinished_line_goes_at_once() -> None:
    run = Running(start="^a")
    run.push(b"a\nb\n", 0)
    run.push(b"c", 4, unfinished=True)
    assert run.seen == [LineDelta("f", "f", 0, 5, b"a b c", unfinished=True)]


def test_errors_and_other_elements_pass() -> None:
    run = Running(end=";$")
    run.push(b"a\n", 0)
    run.source.on_next("other")
    error = ValueError("broken")
    run.source.on_error(error)
    assert (run.seen, run.ended) == (["other", LineDelta("f", "f", 0, 2, b"a\n")], [error])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of 'start', 'end' and 'indented' must be given; got none"),
        ({"start": "a", "indented": True}, "must be given; got 'start' and 'indented'"),
        ({"start": "("}, r"start.*must be a regular expression; got '\(': missing \)"),
        ({"end": "a", "join": "\n"}, r"must be one ASCII character, and no line break; got '\\n'"),
        ({"end": "a", "join": "ab"}, "must be one ASCII character, and no line break; got 'ab'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        multiline(**options)(Subject())


def test_objects_written_over_several_lines(tmp_path: Path) -> None:
    """An object that is broken is reported with its place in the file."""
    objects = [orjson.dumps({"n": n, "in": {"k": [n]}}, option=orjson.OPT_INDENT_2) for n in range(3)]
    objects[1] = objects[1].replace(b'"in"', b"in")
    (tmp_path / "a.log").write_bytes(b"\n".join(objects) + b"\n")
    rows: list[Any] = []
    errors: list[Any] = []
    graph = rxpipe.Graph(
        "pretty",
        {
            "rows": [
                ops.watch([str(tmp_path)], patterns=["*.log"]),
                ops.read_lines(),
                ops.multiline(start=r"^\{"),
                ops.parse_json(),
                ops.tap(lambda batch: rows.extend(batch.rows)),
            ],
            "bad": [rxpipe.stream("errors"), ops.tap(lambda batch: errors.extend(batch.rows))],
        },
    )
    with graph.run(once=True, state=False) as run:
        run.wait(timeout="20s")
    assert rows == [{"n": 0, "in": {"k": [0]}}, {"n": 2, "in": {"k": [2]}}]
    start = len(objects[0]) + 1
    assert [(e.start, e.end) for e in errors] == [(start, start + len(objects[1]))]


GRAPH = """
graph: traces
settings: {checkpoint: 20ms}
streams:
  out:
    - watch: {paths: ["FOLDER/logs"], patterns: ["*.log"]}
    - read_lines: {block: 200B}
    - multiline: {start: "^#", timeout: 30s}
    - write_lines: {path: "FOLDER/out.txt", text: line}
"""


def holds(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()


def test_killed_in_the_middle_of_records(tmp_path: Path) -> None:
    """Real processes: whenever it is killed, the last record is half there."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    command = [sys.executable, "-m", "rxpipe", "run", str(tmp_path / "graph.yaml"), "--state", str(tmp_path / "s.db")]
    log, out = tmp_path / "logs" / "a.log", tmp_path / "out.txt"
    count = 0
    for turn in range(4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with log.open("ab") as file:
                file.write(b" of %d\n#%d\n and more\n" % (count, count + 1))
            count += 1
        until(partial(holds, out, f"#{count - 1} "))
        time.sleep(0.05 * turn)  # another moment of the kill, before and behind a checkpoint
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "--once"], check=True, timeout=60, stderr=subprocess.DEVNULL)
    records = out.read_text().splitlines()
    assert records == [" of 0", *(f"#{n}  and more  of {n}" for n in range(1, count)), f"#{count}  and more"]
