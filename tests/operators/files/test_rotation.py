"""Logs that are rotated: which files are one log, and that the older ones are read first."""

from __future__ import annotations

import cProfile
import gzip
import os
import pstats
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.operators.files import _known, _watcher
from rxpipe.operators.files._packed import OtherError, Packed, Place
from rxpipe.operators.files._rotation import generation
from rxpipe.operators.files._sample import SAMPLE, digest
from rxpipe.operators.files._tail import Row, Tail
from rxpipe.testing import TestContext
from tests.operators.files.files import append, restarted
from tests.operators.files.test_read_lines_properties import Follower


@pytest.mark.parametrize(
    ("path", "log"),
    [
        ("/logs/x.log", "/logs/x.log"),
        ("/logs/x.log.1", "/logs/x.log"),
        ("/logs/x.log.12.gz", "/logs/x.log"),
        ("/logs/x.log.zst", "/logs/x.log"),
        ("/logs/x.log-20250131", "/logs/x.log"),
        ("/logs/x.log.2025-01-31T10:00:00.gz", "/logs/x.log"),
        ("/logs/x-2025-01-31.log", "/logs/x-2025-01-31.log"),
        ("/logs/00001.log", "/logs/00001.log"),
        ("/logs.1/x", "/logs.1/x"),
        ("x", "x"),
        (".1", ".1"),
        ("/a\nb.1", "/a\nb.1"),
    ],
)
def test_files_of_a_log_are_known_by_their_names(path: str, log: str) -> None:
    assert generation(path).log == log


@pytest.mark.parametrize(
    "names",
    [["x.3.gz", "x.2", "x.1", "x"], ["x-20241231", "x-20250101", "x"], ["x.2025-01-02.gz", "x.2025-01-03", "x"]],
)
def test_the_older_of_two_files_has_the_lesser_age(names: list[str]) -> None:
    ages = [generation(name).age for name in names]
    assert ages == sorted(set(ages))


def put(path: Path, data: bytes, changed: int) -> None:
    path.write_bytes(data)
    os.utime(path, (changed, changed))


def test_what_was_rotated_is_read_to_its_end_before_what_came_after(start: Any, logs: Path) -> None:
    put(logs / "x.log", b"5\n6\n", 30)
    put(logs / "x.log.1", b"3\n4\n", 20)
    put(logs / "x.log.2", b"1\n2\n", 10)
    session = start(read={"block": 2})
    assert [line for _, line in session.lines()] == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_who_drains_before_files_turn_up_remembers_all_of_them(start: Any, logs: Path, tmp_path: Path) -> None:
    def drained(session: Any, seconds: float) -> Any:
        session.look(seconds)
        session.context.drain()
        return restarted(session, start)

    append(logs / "x.log.1", b"1\n")
    append(logs / "x.log", b"2\n")
    session = start(read={})
    assert session.lines() == [("x.log.1", b"1"), ("x.log", b"2")]
    (logs / "x.log.1").rename(tmp_path / "first")  # while a run looks, it is between two names
    (logs / "x.log").rename(logs / "x.log.1")
    session = drained(restarted(session, start), 0)
    (logs / "x.log.1").rename(tmp_path / "second")
    append(logs / "x.log.1", b"3\n")
    session = drained(drained(session, 0), 0)
    (tmp_path / "second").rename(logs / "x.log.2")
    (tmp_path / "first").rename(logs / "x.log.3")
    assert session.lines(5) == [("x.log.1", b"3")]


def test_who_takes_the_place_of_one_that_did_not_turn_up_is_remembered_there(
    start: Any, logs: Path, tmp_path: Path
) -> None:
    append(logs / "x.log.2", b"1\n")
    append(logs / "x.log.1", b"2\n")
    session = start(read={})
    assert session.lines() == [("x.log.2", b"1"), ("x.log.1", b"2")]
    (logs / "x.log.2").rename(tmp_path / "first")  # while a run looks, it is between two names
    session = restarted(session, start)
    session.look(0.1)
    (logs / "x.log.1").rename(logs / "x.log.2")
    assert session.look() == []
    session.context.drain()
    session = restarted(session, start)
    (tmp_path / "first").rename(logs / "x.log.3")
    assert session.lines(5) == []


def test_where_the_times_are_the_same_the_numbers_decide(start: Any, logs: Path) -> None:
    for number, name in enumerate(["x.log.10", "x.log.2", "x.log.1", "x.log"]):
        put(logs / name, b"%d\n" % number, 10)
    session = start(read={"block": 2})
    assert [line for _, line in session.lines()] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("files", "order"),
    [
        ([("x.log.1", b"a", 6), ("x.log", b"b", 6), ("y.log", b"c", 6)], b"aacaacaacbcbcbcbbb"),
        ([("x.log", b"a", 4), ("y.log", b"b", 5), ("z.log", b"c", 4)], b"aaaabccccbbbb"),
    ],
    ids=["logs take turns", "a small file is read in one go"],
)
def test_turns(start: Any, logs: Path, files: list[tuple[str, bytes, int]], order: bytes) -> None:
    for changed, (name, letter, count) in enumerate(files, 1):
        put(logs / name, lines(letter, count), changed)
    session = start(read={"block": 3})
    assert b"".join(line[:1] for _, line in session.lines()) == order


def lines(letter: bytes, count: int) -> bytes:
    """Lines of two letters each."""
    return (letter * 2 + b"\n") * count


def test_the_events_of_a_rotated_log_come_in_the_order_of_change(start: Any, logs: Path) -> None:
    put(logs / "x.log", b"", 30)
    put(logs / "x.log.1", b"", 10)
    put(logs / "x.log.2", b"", 20)
    put(logs / "w.log", b"", 40)
    session = start()
    assert session.events() == [f"create {name} known" for name in ("w.log", "x.log.1", "x.log.2", "x.log")]


def compress(path: Path, *, keep: bool = False) -> None:
    """Do as gzip does."""
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    shutil.copystat(path, f"{path}.gz")
    if not keep:
        path.unlink()


def numbers(begin: int, end: int) -> bytes:
    return b"".join(b"%06d\n" % number for number in range(begin, end))


def read(session: Any, seconds: float = 1.0) -> bytes:
    """The lines of the next look; none may be void."""
    lines = [line for _, line in session.lines(seconds)]
    assert None not in lines
    return b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize("count", [10, 500])
def test_what_is_compressed_while_followed_is_not_read_again(start: Any, logs: Path, count: int) -> None:
    put(logs / "x.log", numbers(0, count), 10)
    session = start(read={})
    assert read(session) == numbers(0, count)
    (logs / "x.log").rename(logs / "x.log.1")
    compress(logs / "x.log.1")
    put(logs / "x.log", b"next\n", 20)
    assert read(session) == b"next\n"
    session = restarted(session, start)
    assert read(session, 10) == b""


@pytest.mark.parametrize("count", [10, 500])
def test_what_was_compressed_meanwhile_is_read_on(start: Any, logs: Path, count: int) -> None:
    put(logs / "x.log", numbers(0, count), 10)
    session = start(read={})
    assert read(session) == numbers(0, count)
    put(logs / "x.log", numbers(0, 2 * count), 20)
    (logs / "x.log").rename(logs / "x.log.1")
    compress(logs / "x.log.1")
    put(logs / "x.log", b"next\n", 30)
    session = restarted(session, start, block=64)
    assert read(session, 10) == numbers(count, 2 * count) + b"next\n"


def test_a_copy_waits_for_the_file_it_is_made_of(start: Any, logs: Path) -> None:
    put(logs / "x.log.1", numbers(0, 500), 10)
    session = start(read={})
    assert read(session) == numbers(0, 500)
    compress(logs / "x.log.1", keep=True)
    assert read(session, 10) == b""
    session = restarted(session, start)
    assert read(session, 10) == b""
    (logs / "x.log.1").unlink()
    assert read(session, 10) == b""


HEAD = b"h" * 2000 + b"\n"


@pytest.mark.parametrize("other", [HEAD + numbers(200, 400), HEAD + b"short\n", HEAD + numbers(30_000, 60_000)])
def test_files_that_only_begin_alike_are_both_read(start: Any, logs: Path, other: bytes) -> None:
    put(logs / "x.log", HEAD + numbers(0, 20_000), 10)
    session = start(read={})
    assert read(session) == HEAD + numbers(0, 20_000)
    states = session.context.checkpoint()
    session.stop()
    (logs / "x.log").rename(logs / "y")  # so that nothing gets its inode
    put(logs / "x.log.1", other, 20)
    compress(logs / "x.log.1")
    session = start(read={"block": 64}, context=TestContext(states), patterns=["x*"])
    assert read(session, 5) == other


@pytest.mark.parametrize("same", [True, False])
def test_what_is_passed_over_is_compared_after_a_restart_too(tmp_path: Path, same: bool) -> None:
    was = numbers(0, 5000)
    put(tmp_path / "x", was + b"new\n", 10)
    compress(tmp_path / "x")
    found = os.stat(tmp_path / "x.gz")
    tail = Tail(str(tmp_path / "x.gz"), found.st_dev, found.st_ino)
    place = Place("gzip", emitted=len(was), before=digest(was[-SAMPLE:] if same else b"other"))
    fd = os.open(tmp_path / "x.gz", os.O_RDONLY)
    try:
        for _ in range(3):
            packed = Packed(place)
            assert [packed.read(fd, tail, 64, 1000).data for _ in range(20)] == [b""] * 20
            place = msgspec.msgpack.decode(msgspec.msgpack.encode(packed.place()), type=Place)
            assert place.before
        packed = Packed(place)
        if not same:
            with pytest.raises(OtherError):
                while packed.read(fd, tail, 64, 1000).more:
                    pass
            return
        read = [packed.read(fd, tail, 64, 1000).data for _ in range(len(was) // 60)]
        assert b"".join(read) == b"new\n"
        assert not packed.place().before
    finally:
        os.close(fd)


def test_the_place_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    saved = msgspec.msgpack.encode(("gzip", 0, 0, 7, False))
    assert msgspec.msgpack.decode(saved, type=Place) == Place("gzip", 0, 0, 7, torn=False)


def test_what_is_to_be_read_anew_is_read_compressed_too(start: Any, logs: Path) -> None:
    put(logs / "x.log", b"1\n", 10)
    session = start(read={"renamed": "reread"})
    assert session.lines() == [("x.log", b"1")]
    compress(logs / "x.log")
    assert sorted(session.lines(5), key=str) == [("x.log", None), ("x.log.gz", b"1")]


def test_what_is_rotated_and_compressed_between_two_looks_is_not_read_again(start: Any, logs: Path) -> None:
    put(logs / "x.log.1", numbers(0, 300), 10)
    put(logs / "x.log", numbers(300, 600), 20)
    session = start(read={})
    assert read(session) == numbers(0, 600)
    for number in range(600, 1500, 300):
        for old in sorted(logs.glob("x.log.*.gz"), reverse=True):
            old.rename(logs / f"x.log.{int(old.name.split('.')[2]) + 1}.gz")
        (logs / "x.log.1").rename(logs / "x.log.2")
        compress(logs / "x.log.2")
        (logs / "x.log").rename(logs / "x.log.1")
        put(logs / "x.log", numbers(number, number + 300), number)
        assert read(session) == numbers(number, number + 300)


@pytest.mark.parametrize(
    ("before", "path", "same"),
    [("x.log", "x.log.1", True), ("x.log", "x.log.1.gz", False), ("x.log.1.gz", "x.log.2.gz", True)],
)
@pytest.mark.parametrize("there", [True, False])
def test_where_an_inode_was_that_is_elsewhere_by_now(
    tmp_path: Path, before: str, path: str, same: bool, there: bool
) -> None:
    put(tmp_path / "inode", b"another one's by now\n", 10)
    found = os.stat(tmp_path / "inode")
    if there:
        put(tmp_path / path, b"", 10)
    tail = Tail(str(tmp_path / before), found.st_dev, found.st_ino)
    tail.offset = 7
    assert tail.same_at(str(tmp_path / path)) is same


def beside_a_compressed_one(start: Any, logs: Path) -> Any:
    """Follow a log that has a file beside it which was rotated and compressed; all is read."""
    put(logs / "x.log.1.gz", gzip.compress(numbers(0, 300)), 10)
    put(logs / "x.log", numbers(300, 600), 20)
    session = start(read={})
    assert read(session) == numbers(0, 600)
    return session


def test_a_log_whose_inode_is_taken_over_before_its_copy_is_seen_is_not_read_again(start: Any, logs: Path) -> None:
    session = beside_a_compressed_one(start, logs)
    states = session.context.checkpoint()
    session.stop()
    put(logs / "x.log", numbers(600, 610), 40)  # as if it were another file with the inode of the one that is gone
    session = start(read={}, context=TestContext(states))
    seen = read(session, 0.5)
    (logs / "x.log.1.gz").rename(logs / "x.log.2.gz")
    put(logs / "x.log.1.gz", gzip.compress(numbers(300, 600)), 30)
    assert seen + read(session, 10) == numbers(600, 610)


def test_a_log_that_is_cut_beside_compressed_ones_is_void_after_a_while(start: Any, logs: Path) -> None:
    session = beside_a_compressed_one(start, logs)
    put(logs / "x.log", b"new\n", 30)
    assert session.lines(10) == [("x.log", None), ("x.log", b"new")]
    session = restarted(session, start)
    put(logs / "x.log", b"2\n", 40)
    assert session.lines(1) == []
    session = restarted(session, start)
    assert session.lines(10) == [("x.log", None), ("x.log", b"2")]


def test_a_log_that_is_cut_beside_compressed_ones_is_read_where_it_is_read_once(start: Any, logs: Path) -> None:
    session = beside_a_compressed_one(start, logs)
    states = session.context.checkpoint()
    session.stop()
    put(logs / "x.log", b"new\n", 30)
    session = start(read={}, context=TestContext(states, once=True))
    assert session.lines(1) == [("x.log", None), ("x.log", b"new")]
    assert session.done


@pytest.mark.parametrize("written", [0, 5, 30])
def test_a_compressed_file_of_which_too_little_is_written_waits(start: Any, logs: Path, written: int) -> None:
    put(logs / "x.log.1", numbers(0, 300), 10)
    session = start(read={})
    assert read(session) == numbers(0, 300)
    whole = gzip.compress(numbers(0, 300))
    (logs / "x.log.1.gz").write_bytes(whole[:written])
    assert read(session) == b""
    (logs / "x.log.1.gz").write_bytes(whole)
    assert read(session) == b""
    (logs / "x.log.1").unlink()
    put(logs / "x.log", numbers(300, 310), 20)
    assert read(session) == numbers(300, 310)


@pytest.mark.parametrize("written", [0, 5, 30, None])
def test_a_copy_that_is_removed_does_not_keep_the_next_one_waiting(start: Any, logs: Path, written: int | None) -> None:
    put(logs / "x.log.1", numbers(0, 300), 10)
    session = start(read={})
    assert read(session) == numbers(0, 300)
    (logs / "x.log.1.gz").write_bytes(gzip.compress(numbers(0, 300))[:written])
    assert read(session) == b""
    (logs / "x.log.1.gz").unlink()  # as who compresses does when interrupted
    assert read(session) == b""
    put(logs / "x.log.1", numbers(0, 310), 20)
    compress(logs / "x.log.1")
    assert read(session) == numbers(300, 310)
    assert read(session, 10) == b""
    assert [*session.context.checkpoint()[0]] == [(os.fsencode(logs / "x.log.1.gz"), "")]


def test_a_copy_of_a_file_that_has_to_wait_waits_too(start: Any, logs: Path) -> None:
    put(logs / "x.log.2.gz", gzip.compress(b"1\n"), 10)
    put(logs / "x.log.1", b"2\n", 20)
    session = start(read={})
    assert read(session) == b"1\n2\n"
    (logs / "x.log.1").rename(logs / "y")  # so that nothing gets its inode
    (logs / "y").rename(logs.parent / "y")
    put(logs / "x.log.1", b"3\n", 30)
    assert read(session) == b""
    compress(logs / "x.log.1", keep=True)
    assert session.lines(10) == [("x.log.1", None), ("x.log.1", b"3")]


def test_what_is_saved_and_not_watched_is_looked_at_once(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["x.log", *(f"x.log.{number}" for number in range(1, 4))]
    for name in ("x.log.5.gz", "y.log"):
        put(logs / name, gzip.compress(b"0\n") if name.endswith(".gz") else b"0\n", 10)
    for name in names:
        put(logs / name, name.encode() + b"\n", 20)
    session = start(read={})
    assert len(read(session).splitlines()) == 2 + len(names)
    states = session.context.checkpoint()
    session.stop()
    looked: list[str] = []
    is_there = _known._is_there

    def look(path: str, row: Row) -> bool:
        looked.append(path)
        return is_there(path, row)

    monkeypatch.setattr(_known, "_is_there", look)
    session = start(read={}, context=TestContext(states), patterns=["x*"])
    assert read(session, 5) == b""
    gone = []
    for name in names:
        (logs / name).unlink()
        gone += session.lines(1)
    assert gone + session.lines(10) == [(name, None) for name in names]
    assert looked == [str(logs / "y.log")]


def test_a_copy_waits_for_a_file_that_has_to_wait_and_is_elsewhere(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watcher, "_SLICE", -1.0)  # files are read between two events
    put(logs / "x.log.2.gz", gzip.compress(b"1\n"), 10)
    put(logs / "x.log.1", b"2\n", 20)
    put(logs / "x.log", b"3\n", 30)
    session = start(read={})
    assert read(session) == b"1\n2\n3\n"
    (logs / "x.log").rename(logs.parent / "x.log")  # so that nothing gets its inode
    put(logs / "x.log", b"4\n", 40)
    assert read(session) == b""
    (logs / "x.log.1").rename(logs.parent / "x.log.1")
    (logs / "x.log").rename(logs / "x.log.1")
    compress(logs / "x.log.1", keep=True)
    seen = session.lines(10)
    assert [line for _, line in seen if line is not None] == [b"4"]
    assert sorted(path for path, line in seen if line is None) == ["x.log", "x.log.1"]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_many_files_of_a_log_take_no_more_than_many_of_many(start: Any, logs: Path, ending: str) -> None:
    calls = []
    for count in (200, 400):
        for number in range(count):
            path = logs / f"x.{number}{ending}"
            path.write_bytes(gzip.compress(b"1\n") if ending else b"1\n")
        profile = cProfile.Profile()
        with profile:
            session = start(read={})
            assert len(session.lines()) == count
            for path in logs.iterdir():
                path.unlink()
            assert len(session.lines(5)) == count
            session.stop()
        calls.append(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # known to no stub
    assert calls[1] < 3 * calls[0]  # what looked at all of them for each would take four times as many


ACTIONS = ["write", "rotate", "compress", "look", "restart", "checkpoint", "crash"]


@given(st.lists(st.sampled_from(ACTIONS), max_size=40), st.integers(1, 2000) | st.just(256 * 1024))
def test_rotated_and_compressed_at_any_moment(actions: list[str], block: int) -> None:
    rotated_and_compressed(actions, block)


@pytest.mark.parametrize(
    "actions",
    [
        # a file that is gone and another one shared a path when it was saved
        "rotate rotate write rotate write restart crash compress rotate look restart",
        "write rotate rotate write look restart compress rotate write rotate look checkpoint crash",
        # what was made of one file has the inode that another, gone as well, had
        "rotate write rotate write restart restart rotate compress look rotate checkpoint crash",
        # open and empty when it was last looked at
        "write rotate compress rotate look",
        "write rotate compress write rotate",
        # two files that are lost were at one path
        "rotate rotate write rotate write crash restart compress rotate look rotate restart",
    ],
)
def test_files_that_were_and_are_no_longer(actions: str) -> None:
    for block in (600, 256 * 1024):
        rotated_and_compressed(actions.split(), block)


def rotated_and_compressed(actions: list[str], block: int) -> None:
    """Each line arrives once, whatever happens to a log; inodes of files that are gone are used again."""
    written: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "x.log"
        log.touch()
        follower = Follower(Path(folder), block)
        states: list[Any] = []
        kept = 0
        inodes: dict[Path, int] = {}
        gone: set[int] = set()
        packed: dict[int, bool] = {}
        in_order = True
        for number, action in enumerate(actions):
            if action == "write":
                written.append(b"%d %s\n" % (number, b"x" * (number * 53 % 700)))
                with log.open("ab") as file:
                    file.write(written[-1])
            elif action == "rotate":
                rotated = {int(path.name.split(".")[2]): path for path in Path(folder).glob("x.log.*")}
                for old in sorted(rotated, reverse=True):
                    rotated[old].rename(str(rotated[old]).replace(f".{old}", f".{old + 1}"))
                log.rename(f"{log}.1")
                log.touch()
            elif action == "compress":
                for path in [path for path in Path(folder).glob("x.log.*") if path.suffix != ".gz"]:
                    compress(path)
            elif action == "look":
                follower.look()
            elif action == "restart":
                follower.restart()
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            elif action == "checkpoint":
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            else:
                follower.crash(states, kept)
            before, inodes = inodes, {path: path.stat().st_ino for path in Path(folder).iterdir()}
            gone |= {*before.values()} - {*inodes.values()}
            taken_over = not gone.isdisjoint(inodes.values()) or any(
                packed.setdefault(inode, path.suffix == ".gz") != (path.suffix == ".gz")
                for path, inode in inodes.items()
            )
            in_order &= not taken_over  # a file that has the inode of another one may have its turn late
        for _ in range(10):
            follower.look()
        follower.stop()
    found = [line for _, block in follower.blocks for line in block.splitlines(keepends=True)]
    assert (found if in_order else sorted(found)) == (written if in_order else sorted(written))
