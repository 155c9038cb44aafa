"""Compressed files: whatever they are made of and however they grow, the lines read are the lines written."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.context import entered
from rxpipe.elements import FileEvent, FileState, LineDelta, OriginGone
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.testing import TestContext
from tests.faults.harness import until
from tests.operators.files.conftest import Session
from tests.operators.files.test_read_lines_properties import Follower, pieces

Start = Any


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def zstandarded(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def streamed(data: bytes) -> bytes:
    """A frame of several blocks, of unknown size, with a checksum."""
    made = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    parts = []
    for at in range(0, len(data), 7):
        parts += [made.compress(data[at : at + 7]), made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return b"".join([*parts, made.flush()])


def skipped(data: bytes) -> bytes:
    return b"\x5a\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


MEMBERS = {
    "gzip": [gzipped, lambda data: gzipped(data) + b"\0" * 5, lambda data: gzip.compress(data, 0, mtime=0)],
    "zstd": [
        zstandarded,
        streamed,
        lambda data: zstandarded(data, write_checksum=True, write_content_size=False),
        lambda data: skipped(b"any") + zstandarded(data),
    ],
}
TEXTS = st.lists(st.text("äb\0x", max_size=12), max_size=30)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@given(
    TEXTS,
    st.lists(st.integers(0, 400), max_size=6),
    st.lists(st.integers(0, 900), max_size=10),
    st.integers(1, 40),
    st.data(),
)
def test_torn_members_and_restarts(
    kind: str, texts: list[str], ends: list[int], cuts: list[int], block: int, data: Any
) -> None:
    """Members end within lines, writes within members, and a run is stopped or killed at any time."""
    lines = "".join(f"{text}\n" for text in texts).encode()
    members = [data.draw(st.sampled_from(MEMBERS[kind]))(part) for part in pieces(lines, ends)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        follower = Follower(Path(folder), block)
        states: list[Any] = []
        kept = 0
        for piece in pieces(b"".join(members), cuts):
            with path.open("ab") as file:
                file.write(piece)
            what = data.draw(st.sampled_from(["look", "restart", "checkpoint", "crash", "turn", "nothing"]))
            if what == "look":
                follower.look()
            elif what == "restart":
                follower.restart()
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            elif what == "checkpoint":
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            elif what == "crash":
                follower.crash(states, kept)
            elif what == "turn":  # a checkpoint in the middle of what there is to read
                follower.context.flow.hold()
                follower.context.virtual.schedule_relative(1, lambda *_: follower.context.flow.release())
                follower.look()
                states, kept = follower.context.checkpoint(), len(follower.blocks)
        follower.look()
        follower.look()
        errors = follower.context.errors
        follower.stop()
    assert b"".join(block for _, block in follower.blocks) == lines
    assert follower.voided == []
    assert errors == []


def test_a_checkpoint_between_two_blocks_of_a_member(start: Start, logs: Path) -> None:
    """The file was decompressed to its end, but not all of it was emitted: a restart must open it again."""
    (logs / "a.gz").write_bytes(gzipped(b"".join(b"%d\n" % n for n in range(2000))))
    session = start(read={"block": 512})

    def drain_in_the_middle(*_: Any) -> None:
        if session.seen:
            session.context.drain()
        else:
            session.context.virtual.schedule(drain_in_the_middle)

    session.context.virtual.schedule(drain_in_the_middle)
    first = session.lines(0)
    assert 0 < len(first) < 2000
    again = start(read={"block": 512}, context=TestContext(session.context.checkpoint()))
    assert [line for _, line in first + again.lines(0)] == [b"%d" % n for n in range(2000)]


def test_a_restart_goes_on_at_the_last_member(start: Start, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = gzipped(os.urandom(50_000).hex().encode() + b"\n"), gzipped(b"b\nhalf")
    (logs / "a.gz").write_bytes(first + second)
    session = start(read={})
    assert [line for _, line in session.lines(0)][1:] == [b"b"]
    states = session.context.checkpoint()
    session.stop()
    with (logs / "a.gz").open("ab") as file:
        file.write(gzipped(b" line\n"))
    reads: list[int] = []
    pread = os.pread

    def noting(fd: int, length: int, offset: int) -> bytes:
        reads.append(offset)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", noting)
    again = start(read={}, context=TestContext(states))
    assert again.lines(0) == [("a.gz", b"half line")]
    assert [offset for offset in reads if 1024 < offset < len(first) - 1024] == []


@pytest.mark.parametrize(("name", "pack"), [("a.gz", gzipped), ("a.zst", zstandarded), ("by-its-bytes", gzipped)])
def test_how_a_file_is_compressed(start: Start, logs: Path, name: str, pack: Any) -> None:
    (logs / name).write_bytes(pack(b"1\n2\n"))
    assert start(read={}).look(0) == [LineDelta(str(logs / name), *_identity(logs / name), 0, 4, b"1\n2\n")]


def _identity(path: Path) -> tuple[str]:
    found = path.stat()
    return (f"{found.st_dev:x}:{found.st_ino:x}",)


def test_it_can_be_told(start: Start, logs: Path) -> None:
    (logs / "a").write_bytes(gzipped(b"1\n"))
    assert start(read={"compression": "none"}).lines(0) != [("a", b"1")]
    session = start(read={"compression": "zstd"})
    session.look(0)
    assert [e.reason for e in session.context.errors] == ["cannot be decompressed at byte 0: no zstd frame begins here"]


@pytest.mark.parametrize("pack", [gzipped, lambda data: zstandarded(data, write_checksum=True)])
def test_corrupt_data_is_told_once_with_its_offset(start: Start, logs: Path, pack: Any) -> None:
    good, bad = pack(b"1\n"), bytearray(pack(os.urandom(3000).hex().encode()))
    bad[len(bad) // 2 : len(bad) // 2 + 50] = b"\xff" * 50
    (logs / "a").write_bytes(good + bad)
    session = start(read={})
    assert session.lines(0)[:1] == [("a", b"1")]
    (logs / "a").write_bytes(good + bad + pack(b"2\n"))
    assert session.lines(5) == []
    [error] = session.context.errors
    assert error.reason.startswith(f"cannot be decompressed at byte {error.start}: ")
    assert (error.path, error.end) == (str(logs / "a"), len(good + bad))
    assert len(good) <= (error.start or 0) < len(good + bad)
    (logs / "a").write_bytes(pack(b"anew\n"))
    assert session.lines() == [("a", None), ("a", b"anew")]


@pytest.mark.parametrize("pack", [gzipped, zstandarded])
def test_a_member_cut_off_is_held_until_the_file_is_closed(start: Start, logs: Path, pack: Any) -> None:
    whole = pack(b"".join(b"%d\n" % n for n in range(100)))
    (logs / "a").write_bytes(whole[:-3])
    session = start(read={})
    session.look(3)
    assert session.context.errors == []
    once = start(read={}, context=TestContext(once=True))
    once.look(3)
    assert once.done
    [error] = once.context.errors
    assert error.reason == f"compressed data must be whole; the file ends in the middle of it, at byte {len(whole) - 3}"
    with (logs / "a").open("ab") as file:
        file.write(whole[-3:])
    session.look(3)
    assert session.context.errors == []
    session.context.checkpoint()


def test_a_last_line_without_its_end(start: Start, logs: Path) -> None:
    (logs / "a").write_bytes(gzipped(b"1\n2"))
    once = start(read={"last_line": "emit"}, context=TestContext(once=True))
    assert once.lines(0) == [("a", b"1"), ("a", b"2")]
    states = once.context.checkpoint()
    again = start(read={"last_line": "emit"}, context=TestContext(states))
    assert again.lines(3) == []
    with (logs / "a").open("ab") as file:
        file.write(gzipped(b"2\n"))
    assert again.lines(3) == [("a", None), ("a", b"1"), ("a", b"22")]


def test_from_the_end(start: Start, logs: Path) -> None:
    (logs / "a").write_bytes(gzipped(b"1\n2\n") + gzipped(b"3\nha"))
    session = start(read={"start": "end", "block": 2})
    assert session.lines() == []
    with (logs / "a").open("ab") as file:
        file.write(gzipped(b"lf\n4\n"))
    assert session.lines() == [("a", b"half"), ("a", b"4")]


@pytest.mark.parametrize("pack", [gzipped, zstandarded])
def test_a_long_line_is_passed_over(start: Start, logs: Path, pack: Any) -> None:
    (logs / "a").write_bytes(pack(b"1\n" + b"x" * 500 + b"\n2\n") + pack(b"y" * 10 + b"\n"))
    session = start(read={"max_line": 100})
    assert session.lines() == [("a", b"1"), ("a", b"2"), ("a", b"y" * 10)]
    [error] = session.context.errors
    assert (error.start, error.end) == (2, 503)
    assert error.reason == "line of 501 bytes: at most max_line, 100, are read; passed over"


@pytest.mark.parametrize(
    "pack", [lambda data: zlib.compress(data, 9, wbits=31), lambda data: zstandarded(data, level=3)]
)
def test_a_bomb_is_read_block_by_block(tmp_path: Path, pack: Any) -> None:
    size = 200_000_000
    path = tmp_path / "bomb"
    path.write_bytes(pack(b"\n" * size))
    found = path.stat()
    total = largest = 0

    def note(delta: Any) -> None:
        nonlocal total, largest
        total += len(delta.data)
        largest = max(largest, len(delta.data))

    context = TestContext(once=True)
    tracemalloc.start()
    with entered(context):
        import reactivex as rx

        state = FileState(found.st_dev, found.st_ino, found.st_size, 1)
        rx.of(FileEvent("create", str(path), None, state)).pipe(read_lines(block="1MB")).subscribe(note)
    context.virtual.advance_by(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total, largest) == (size, 1_000_000)
    assert peak < 10_000_000


def test_without_the_package_it_says_so(start: Start, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (logs / "a.zst").write_bytes(zstandarded(b"1\n"))
    (logs / "b").write_bytes(b"2\n")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zstandard", None)
        session = start(read={})
        assert session.lines(3) == [("b", b"2")]
    [error] = session.context.errors
    how = "to read zstd needs the package 'zstandard': pip install 'rxpipe-graphs[zstd]'"
    assert error.reason == f"cannot be decompressed at byte 0: {how}"
    states = session.context.checkpoint()
    session.stop()
    assert start(read={}, context=TestContext(states)).lines(0) == [("a.zst", b"1")]  # installed meanwhile


def test_a_removed_file_is_read_to_its_end(start: Start, logs: Path) -> None:
    whole = gzipped(b"".join(b"%d\n" % n for n in range(4000)))
    (logs / "a").write_bytes(whole[:-3])
    session: Session = start(read={})
    session.look()
    (logs / "a").unlink()
    seen = session.look()
    assert seen[-1] == OriginGone(str(logs / "a"))
    assert [e.reason[:30] for e in session.context.errors] == ["compressed data must be whole;"]


GRAPH = """
graph: packed
settings: {checkpoint: 20ms}
streams:
  out:
    - watch: {paths: ["FOLDER/logs"], patterns: ["*.gz", "*.zst"]}
    - read_lines: {block: 1KB}
    - parse_json
    - to_jsonl: {path: "FOLDER/out.jsonl"}
"""


def grown(file: Path, before: int) -> bool:
    return file.exists() and file.stat().st_size > before


def test_killed_while_members_are_appended(tmp_path: Path) -> None:
    """Real processes: members are torn into writes, and the run is killed in the middle of them."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    command = [sys.executable, "-m", "rxpipe", "run", str(tmp_path / "graph.yaml"), "--state", str(tmp_path / "s.db")]
    files = {tmp_path / "logs" / "a.gz": gzipped, tmp_path / "logs" / "b.zst": streamed}
    out = tmp_path / "out.jsonl"
    count = 0
    halves = dict.fromkeys(files, b"")
    for _ in range(4):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for path, pack in files.items():
            lines = b"".join(b'{"n":%d}\n' % n for n in range(count, count + 2000))
            count += 2000
            packed = halves[path] + pack(lines)
            with path.open("ab") as file:
                file.write(packed[:-50])
            halves[path] = packed[-50:]
        until(partial(grown, out, before))
        process.send_signal(signal.SIGKILL)
        process.wait()
    for path, half in halves.items():
        with path.open("ab") as file:
            file.write(half)
    subprocess.run([*command, "--once"], check=True, timeout=60, stderr=subprocess.DEVNULL)
    assert sorted(orjson.loads(line)["n"] for line in out.read_bytes().splitlines()) == list(range(count))
