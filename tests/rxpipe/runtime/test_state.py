"""The state file: one at a time, refused when it does not fit, never torn."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from rxpipe.errors import StateError
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.statereading import open_readonly, readable
from rxpipe.runtime.statewriting import TOGETHER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "state.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[StateFile]:
    made = StateFile(path)
    yield made
    made.close()


def test_rows(file: StateFile) -> None:
    file.saved("a[0] x", "source", "offsets")
    assert file.commit([("a[0] x", [(b"k", "p", b"1"), (b"k", "q", b"2"), (b"k", "p", None), (b"k", "p", b"3")])]) == 4
    saved = file.saved("a[0] x", "source", "offsets")
    assert saved.get(b"k") == {"p": b"3", "q": b"2"}
    assert list(saved.items()) == [(b"k", "p", b"3"), (b"k", "q", b"2")]
    assert saved.keys_of("q") == [b"k"]
    assert saved.get(b"other") == {}
    assert file.commit([]) == 0
    assert file.reset("a[0] x") == 2
    assert file.steps() == []


changes = st.lists(
    st.tuples(st.binary(max_size=1), st.sampled_from(["", "p", "q"]), st.none() | st.binary(max_size=1)), max_size=12
)


@given(changes, changes)
def test_the_last_change_of_a_row_counts(first: list[Any], second: list[Any]) -> None:
    expected = {(key, part): value for key, part, value in first + second}
    with TemporaryDirectory() as folder:
        file = StateFile(Path(folder) / "state.sqlite")
        file.commit([("s", first)])
        file.commit([("s", second)])
        assert {(key, part): value for key, part, value in file.rows("s")} == {
            place: value for place, value in expected.items() if value is not None
        }
        file.close()


def test_a_checkpoint_is_seen_when_it_is_committed(file: StateFile, path: Path) -> None:
    file.commit([("s", [(b"a", "", b"1")])])
    saved = file.saved("s", "operator", "")
    assert file.write([("s", [(b"a", "", b"2"), (b"b", "", b"2")])]) == 2
    assert list(saved.items()) == [(b"a", "", b"1")]
    assert file.steps() == []
    assert file.commit([("s", [(b"c", "", b"2")])]) == 1
    assert [key for key, _, _ in saved.items()] == [b"a", b"b", b"c"]
    assert file.steps() == [("s", "operator", "")]
    file.write([("s", [(b"d", "", b"3")])])
    file.close()
    again = StateFile(path)
    assert [key for key, _, _ in again.rows("s")] == [b"a", b"b", b"c"]
    again.close()
    with pytest.raises(StateError, match="is closed"):
        again.write([("s", [(b"d", "", b"3")])])


def test_many_rows_at_once(file: StateFile) -> None:
    """More than go into one statement, written and then deleted but for every seventh."""
    places = [(b"%05d" % number, "p" if number % 2 else "") for number in range(2 * TOGETHER + 7)]
    file.commit([("s", [(*place, b"v") for place in reversed(places)]), ("t", [(b"k", "", b"v")])])
    assert [(key, part) for key, part, _ in file.rows("s")] == places
    file.commit([("s", [(*place, None) for number, place in enumerate(places) if number % 7])])
    assert [(key, part) for key, part, _ in file.rows("s")] == places[::7]
    assert len(list(file.rows("t"))) == 1


def test_private_to_the_user(file: StateFile, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_survives(path: Path) -> None:
    first = StateFile(path)
    assert not first.adopt("g", "f1")
    first.saved("s", "operator", "")
    first.commit([("s", [(b"k", "", b"v")])])
    first.close()
    second = StateFile(path)
    assert second.adopt("g", "f1")
    assert second.saved("s", "operator", "").get(b"k") == {"": b"v"}
    second.close()


def test_a_failed_commit_changes_nothing_and_the_next_one_works(file: StateFile) -> None:
    with pytest.raises(sqlite3.Error):
        file.commit([("s", [(b"a", "", b"1"), (b"b", "", object())])])  # type: ignore[list-item]  # that is the point
    assert list(file.rows("s")) == []
    file.commit([("s", [(b"a", "", b"1")])])
    assert list(file.rows("s")) == [(b"a", "", b"1")]


def test_a_changed_graph_without_sinks_starts_afresh(file: StateFile) -> None:
    file.adopt("g", "f1")
    file.saved("s", "operator", "")
    file.commit([("s", [(b"k", "", b"v")])])
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    assert not file.adopt("g", "f2")
    logger.remove(sink)
    assert [f"the 1 rows in {file.path} are dropped" in line for line in lines] == [True]
    assert list(file.rows("s")) == []
    assert file.adopt("g", "f2")


def test_a_changed_graph_with_sinks_is_refused(file: StateFile) -> None:
    file.adopt("usage", "f1")
    file.saved("s", "sink", "")
    file.commit([("s", [(b"k", "", b"v")])])
    with pytest.raises(StateError, match=r"written by another definition of graph 'usage'.*rxpipe state reset"):
        file.adopt("usage", "f2")
    assert list(file.rows("s")) == [(b"k", "", b"v")]
    file.reset()
    assert not file.adopt("usage", "f2")


def test_one_at_a_time_in_one_process(file: StateFile, path: Path) -> None:
    with pytest.raises(StateError, match=f"in use by another run, process {os.getpid()}; stop it, or name another"):
        StateFile(path)
    file.close()
    StateFile(path).close()


def test_one_at_a_time_and_kill_lets_go(path: Path) -> None:
    code = "import sys, time; from rxpipe.runtime.state import StateFile; from pathlib import Path;"
    code += "f = StateFile(Path(sys.argv[1]));"
    code += "print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(StateError, match=rf"process {other.pid};"):
            StateFile(path)
        other.send_signal(signal.SIGKILL)
        other.wait()
        StateFile(path).close()


@pytest.mark.parametrize("with_log", [True, False])
def test_a_file_that_was_removed_is_written_anew(file: StateFile, path: Path, with_log: bool) -> None:
    step = file.saved("a", "operator", "")
    file.commit([("a", [(b"k", "", b"1")])])
    path.unlink()
    if with_log:
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()
    file.commit([("a", [(b"l", "", b"2")])])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [name.name for name in path.parent.glob("*.new")] == []
    assert sorted(step.items()) == [(b"k", "", b"1"), (b"l", "", b"2")]
    file.commit([("a", [(b"m", "", b"3")])])
    file.close()
    again = StateFile(path)
    assert sorted(again.rows("a")) == [(b"k", "", b"1"), (b"l", "", b"2"), (b"m", "", b"3")]
    again.close()


def test_a_file_that_was_replaced_is_not_written_to(file: StateFile, path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.write_bytes(b"")
    with pytest.raises(StateError, match="must be the file that this run writes to; it was replaced meanwhile"):
        file.commit([("a", [(b"k", "", b"1")])])
    assert path.read_bytes() == b""


def test_a_lock_that_was_removed_is_taken_anew(file: StateFile, path: Path) -> None:
    lock = Path(f"{path}.lock")
    lock.unlink()
    file.commit([("a", [(b"k", "", b"1")])])
    with pytest.raises(StateError, match=f"in use by another run, process {os.getpid()}"):
        StateFile(path)


def test_closing_twice(file: StateFile, path: Path) -> None:
    file.close()
    file.close()
    with pytest.raises(StateError, match="is closed"):
        file.steps()


@pytest.mark.parametrize(
    "content", [b"this is no database at all, but some text" * 100, b"SQLite format 3\x00" + b"\xff" * 500]
)
def test_damaged(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"cannot be used: .*; move it away, or name another with --state"):
        StateFile(path)
    assert path.read_bytes() == content
    with pytest.raises(StateError, match="must be a state file that can be read"), open_readonly(path):
        pass


def test_somebody_elses_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE meta (name, value)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="must be a state file of rxpipe; got a database with meta"):
        StateFile(path)
    with pytest.raises(StateError, match="must be a state file of rxpipe"), open_readonly(path):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(("found", "whose"), [("99", "a newer"), ("0", "an older")])
def test_another_format(path: Path, found: str, whose: str) -> None:
    made = StateFile(path)
    made.db.execute("UPDATE meta SET value = ? WHERE name = 'format'", (found,))
    made.close()
    match = (
        f"format must be 1; got {found}, written by {whose} version of rxpipe. Go on with that version; or begin anew"
    )
    with pytest.raises(StateError, match=match):
        StateFile(path)
    with pytest.raises(StateError, match=match), open_readonly(path):
        pass


def test_damaged_inside(file: StateFile, path: Path) -> None:
    file.commit([("a", [(b"k%d" % n, "", b"x" * 1000) for n in range(100)])])
    file.close()
    with path.open("r+b") as damaged:
        damaged.seek(4096 * 8)
        damaged.write(b"\xff" * 4096 * 12)
    opened = StateFile(path)
    match = r"state file .*: must be whole; got database disk image is malformed\. Go back to a savepoint"
    with pytest.raises(StateError, match=match):
        list(opened.rows("a"))
    with pytest.raises(StateError, match=match):
        opened.commit([("a", [(b"k%d" % n, "", b"y" * 1000) for n in range(100)])])
    opened.close()


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StateError, match=r"cannot be used: .*directory"):
        StateFile(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used"):
        StateFile(tmp_path / "file" / "state.sqlite")


def test_readonly_while_a_run_has_it(file: StateFile, path: Path) -> None:
    file.saved("s", "source", "offsets")
    file.commit([("s", [(b"\xa1k", "p", b"\x05"), (b"\xc1", "", b"\xc1")])])
    with open_readonly(path) as db:
        assert list(readable(db)) == [
            ("s", "source", "offsets", "k", "p", 5),
            ("s", "source", "offsets", "\ufffd", "", "\ufffd"),
        ]


def test_looking_leaves_no_files_and_changes_nothing(file: StateFile, path: Path) -> None:
    file.close()
    before = sorted(path.parent.iterdir())
    with open_readonly(path) as db:
        assert list(readable(db)) == []
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM meta")
    assert sorted(path.parent.iterdir()) == before


def test_readonly_of_nothing(path: Path) -> None:
    with pytest.raises(StateError, match="must be a state file that can be read"), open_readonly(path):
        pass
