"""`to_parquet`: types, row groups, files, what does not fit, exactly once."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch
from rxpipe.errors import MissingExtraError, RxpipeError
from rxpipe.lease import Lease
from rxpipe.operators.sinks.to_parquet import to_parquet
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running, full_disk

parquet: Any = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in files(folder) for row in parquet.read_table(file).to_pylist()]


class Row(msgspec.Struct):
    n: int | None
    f: float = 0.0
    s: str | None = None
    at: datetime | None = None
    many: list[int] = []
    some: Any = None


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, tmp_path: Path) -> None:
    assert run_marbles(to_parquet(str(tmp_path / "x")), source) == source


def test_types_are_those_declared(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path / "x")))
    at = datetime(2026, 1, 2, 3, 4, 5, 600, UTC)
    run.push(Batch([Row(None), Row(1, 2, "t", at, [1], {"k": 1})]))
    run.complete()
    assert run.done
    schema = parquet.read_schema(files(tmp_path / "x")[0])
    assert [str(field.type) for field in schema] == [
        "int64",
        "double",
        "string",
        "timestamp[us, tz=UTC]",
        "list<element: int64>",
        "string",
    ]
    assert rows(tmp_path / "x")[1] == {"n": 1, "f": 2.0, "s": "t", "at": at, "many": [1], "some": '{"k":1}'}
    (file,) = files(tmp_path / "x")
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("part-00000001.parquet", 0o600)


def test_types_are_those_of_the_first_batch(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path)))
    run.push(Batch([{"a": 1, "b": None}, {"a": 2.5, "c": {"k": [1]}, "d": True}]), Batch([{"a": 3, "b": "x"}]))
    run.complete()
    assert rows(tmp_path) == [
        {"a": 1.0, "b": None, "c": None, "d": None},
        {"a": 2.5, "b": None, "c": '{"k":[1]}', "d": True},
        {"a": 3.0, "b": "x", "c": None, "d": None},
    ]


def test_what_does_not_fit_is_rejected(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path)))
    lease = Lease(run.context.flow, 1, "f", 3, 9)
    run.push(Batch([{"a": 1, "s": "x"}]))
    odd: list[Any] = [{"a": "x"}, {"a": 1.5}, {"a": 1, "z": 1}, {"s": 1}, {"a": 1 << 70}]
    run.push(Batch([*odd, {"a": 2}], [{"a": 1}], (lease,)))
    run.complete()
    assert [row["a"] for row in rows(tmp_path)] == [1, 2]
    assert [error.path for error in run.context.errors] == ["f"] * 6
    assert run.reasons[0] == "a record taken back cannot be taken out of a Parquet file"
    assert "'a' must be of type int64" in run.reasons[1]
    assert run.reasons[3].endswith("the record must have no fields but the columns of the file; got 'z'")
    assert run.reasons[4].endswith("'s' must be of type string; got 1")


def test_row_groups_and_files(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), rows=3))
    for at in range(0, 8, 2):
        run.push(Batch([{"n": at}, {"n": at + 1}]))
    run.context.checkpoint()
    run.push(Batch([{"n": 8}]))
    run.context.checkpoint()
    run.context.checkpoint()
    run.complete()
    first, second = files(tmp_path)
    metadata = parquet.read_metadata(first)
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [3, 3, 2]
    assert parquet.read_table(second).to_pylist() == [{"n": 8}]
    assert [row["n"] for row in rows(tmp_path)] == [*range(9)]


def test_a_batch_that_is_larger_than_a_row_group(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), rows=3))
    run.push(Batch([{"n": n} for n in range(7)]))
    run.complete()
    metadata = parquet.read_metadata(files(tmp_path)[0])
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [3, 3, 1]


def test_a_period_ends_a_file(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), every="1m"))
    for second in (1, 59, 61, 200):
        run.context.virtual.advance_to(second)
        run.push(Batch([{"n": second}]))
    run.complete()
    assert [[row["n"] for row in parquet.read_table(file).to_pylist()] for file in files(tmp_path)] == [
        [1, 59],
        [61],
        [200],
    ]


def test_few_records_wait_for_others_in_the_state(tmp_path: Path) -> None:
    step = to_parquet(str(tmp_path), rows=10, every="1m")
    run = Running(step)
    sizes = []
    for second in range(1, 30):
        run.context.virtual.advance_to(second)
        run.push(Batch([{"n": second}]))
        states = run.context.checkpoint()
        sizes.append(sum(key == b"held" for key, _ in states[0]))
        if second in (5, 15):  # its state is all that is left
            run.stop()
            run = Running(step, states)
            run.context.virtual.advance_to(second)
    assert [parquet.read_metadata(file).num_rows for file in files(tmp_path)] == [10, 10]
    assert sizes == [*range(1, 10), 0] * 2 + [*range(1, 10)]
    run.context.virtual.advance_to(60)
    states = run.context.checkpoint()
    assert [parquet.read_metadata(file).num_rows for file in files(tmp_path)] == [10, 10, 9]
    assert [key for key, _ in states[0] if key == b"held"] == []
    assert [row["n"] for row in rows(tmp_path)] == [*range(1, 30)]


@given(
    st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=8),
    st.lists(st.sampled_from(["next", "next", "checkpoint", "crash", "period"]), max_size=24),
    st.integers(1, 5),
)
def test_exactly_once(batches: list[list[int]], actions: list[str], size: int) -> None:
    """However checkpoints, periods and crashes fall, each row is there once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step = to_parquet(name, rows=size, every="10s")
        run = Running(step)
        states = run.context.checkpoint()
        offset = saved = 0
        for action in actions:
            if action == "next" and offset < len(batches):
                run.push(Batch([{"n": n} for n in batches[offset]]))
                offset += 1
            elif action == "checkpoint":
                states, saved = run.context.checkpoint(), offset
            elif action == "period":
                run.context.virtual.advance_by(10)
            elif action == "crash":
                run.stop()
                folder.joinpath(".part.tmp").write_bytes(b"PAR1 torn")
                run, offset = Running(step, states), saved
        for batch in batches[offset:]:
            run.push(Batch([{"n": n} for n in batch]))
        run.complete()
        folder.joinpath(".part.tmp").unlink(missing_ok=True)
        assert rows(folder) == [{"n": n} for batch in batches for n in batch]


def test_a_restart_keeps_the_columns(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), rows=1))
    run.push(Batch([{"a": 1.5}]))
    states = run.context.checkpoint()
    run.stop()
    files(tmp_path)[0].unlink()  # moved away by whoever reads them
    for given_states, name in ((states, "part-00000002.parquet"), ([], "part-00000003.parquet")):
        run = Running(to_parquet(str(tmp_path)), given_states)
        run.push(Batch([{"a": 1}]))
        run.complete()
        assert files(tmp_path)[-1].name == name
        assert str(parquet.read_schema(files(tmp_path)[-1]).field("a").type) == "double"


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), rows=1))
    run.push(Batch([{"n": 1}]))
    with full_disk():
        run.push(Batch([{"n": 2}]), Batch([{"n": 3}]))
        run.complete()
        run.context.virtual.advance_by(50)
        assert (len(run.out), run.done, run.context.flow.held) == (1, False, True)
        assert "No space left" in run.context.details["degraded"]()
    run.context.virtual.advance_by(30)
    assert (len(run.out), run.done, run.context.flow.held) == (3, True, False)
    assert [row["n"] for row in rows(tmp_path)] == [1, 2, 3]


def test_a_checkpoint_that_fails_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Running(to_parquet(str(tmp_path), rows=1))
    run.push(Batch([{"n": 1}]))

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            run.context.checkpoint()
    assert run.context.states == [{}]
    run.push(Batch([{"n": 2}]))
    states = run.context.checkpoint()
    assert states[0][b"number", ""] == b"2"
    assert [row["n"] for row in rows(tmp_path)] == [1, 2]


def test_unsubscribing_leaves_no_torn_file(tmp_path: Path) -> None:
    run = Running(to_parquet(str(tmp_path), rows=1))
    run.push(Batch([{"n": 1}]))
    assert files(tmp_path) == [tmp_path / ".part.tmp"]
    run.stop()
    assert files(tmp_path) == []


def test_one_writer_and_a_folder(tmp_path: Path) -> None:
    first = Running(to_parquet(str(tmp_path / "x")))
    with pytest.raises(RxpipeError, match="must have one writer; another sink or run has it open, give each its own"):
        raise Running(to_parquet(str(tmp_path / "x"))).failed or AssertionError
    first.stop()
    (tmp_path / "file").touch()
    with pytest.raises(RxpipeError, match="must be a folder that can be written to; got"):
        raise Running(to_parquet(str(tmp_path / "file"))).failed or AssertionError


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"package 'pyarrow'; got .*: pip install 'rxpipe-graphs\[parquet\]'"):
        raise Running(to_parquet(str(tmp_path))).failed or AssertionError
