"""`on_slow: spill`: what waits for a slow reader waits on disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.errors import StateError
from rxpipe.operators.flow.on_slow import on_slow
from rxpipe.operators.sinks.to_callback import to_callback
from rxpipe.testing import TestContext
from tests.operators.flow.slow import Slow
from tests.rxpipe.parts import Blocks, collect, graph

# Spill


def spilling(folder: Path, states: Any = (), disk: Any = "1MB") -> Slow:
    return Slow(on_slow("spill", disk=disk), TestContext(states, folder=folder))


def test_what_is_on_disk_is_done_with_for_its_source(tmp_path: Path) -> None:
    slow = spilling(tmp_path / "spool")
    for n in range(100):
        slow.put(n)
    assert (slow.context.flow.in_flight, slow.gauge("queue_depth")) == (20, 98)
    assert slow.gauge("spilled_bytes") == sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
    slow.catch_up()
    assert slow.out == list(range(100))
    assert slow.context.flow.blocks == 0


def test_what_is_on_disk_survives_a_restart_and_is_given_once(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.context.flow.hold()
    slow.catch_up()
    states = slow.context.checkpoint()
    assert slow.out == list(range(2)), "a checkpoint holds it as it holds a source"
    slow.context.flow.release()
    slow.put(10)  # is given again by its source, as all that came after the checkpoint
    slow.context.virtual.advance_by(0)
    assert slow.out == list(range(11))
    slow.subscription.dispose()
    again = spilling(tmp_path, states)
    assert again.gauge("queue_depth") == 8
    again.keep = False
    again.context.virtual.advance_by(0)
    assert again.out == list(range(2, 10))
    again.put(10)
    assert again.out == list(range(2, 11))


def test_a_reset_state_begins_anew(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.subscription.dispose()
    assert list(tmp_path.iterdir())
    again = spilling(tmp_path)
    assert (again.gauge("queue_depth"), list(tmp_path.iterdir())) == (0, [])


def test_a_run_that_drains_leaves_it_to_the_next(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.context.drain()
    slow.source.on_completed()
    assert slow.out == [0, 1, "|"]


def test_a_source_that_ends_gets_all_of_it_through(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.source.on_completed()
    slow.catch_up()
    assert slow.out == [*range(10), "|"]


def test_where_there_is_no_room_the_sources_are_held_and_a_checkpoint_still_comes(tmp_path: Path) -> None:
    slow = spilling(tmp_path, disk=200)
    while slow.context.flow.open:
        slow.put(len(slow.out) + int(slow.gauge("queue_depth")))
    total = len(slow.out) + int(slow.gauge("queue_depth"))
    assert slow.gauge("spilled_bytes") <= 200
    slow.keep = False
    slow.context.flow.hold()
    slow.let_go(2)
    assert slow.context.flow.blocks == 0, "what did not fit was written as soon as there was room"
    assert 2 < len(slow.out) < total
    slow.context.flow.release()
    slow.context.virtual.advance_by(0)
    assert slow.out == list(range(total))


def test_a_full_disk_holds_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    slow = spilling(tmp_path)
    for n in range(4):
        slow.put(n)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    slow.put(4)
    slow.put(5)
    assert not slow.context.flow.open
    assert lines == ["test: cannot write to disk, the sources are held: [Errno 28] No space left on device"]
    monkeypatch.undo()
    slow.let_go()
    assert slow.context.flow.open
    slow.catch_up()
    assert slow.out == list(range(6))


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    row = msgspec.defstruct("Row", [("n", int), ("tags", list[str])])
    elements: list[Any] = [
        Batch([row(1, ["a"])], leases=()),
        Batch([{"n": 2**70, "tags": ("b",)}]),
        OriginGone("file"),
        LineDelta("file", "f", 3, 5, b"{}\n", None, unfinished=True),
        Batch([{"n": object()}]),
        Batch([{"n": 7}], retractable=True),
    ]
    slow = spilling(tmp_path)
    slow.put(0)
    slow.put(1)
    for element in elements:
        slow.source.on_next(element)
    assert slow.gauge("queue_depth") == 6
    slow.catch_up()
    rows = slow.rows[2:]
    assert rows[:2] == [row(1, ["a"]), {"n": 2**70, "tags": ("b",)}]
    assert type(rows[0]) is row
    gone, lines = slow.out[4:6]
    assert gone == elements[2]
    assert lines._replace(lease=None) == elements[3]
    assert rows[2:] == [elements[4].rows[0], {"n": 7}]


def test_the_state_of_another_folder_is_refused(tmp_path: Path) -> None:
    slow = spilling(tmp_path / "spool")
    for n in range(4):
        slow.put(n)
    slow.context.flow.hold()
    slow.catch_up()
    states = slow.context.checkpoint()
    [error] = spilling(tmp_path / "empty", states).out
    assert isinstance(error, StateError)
    assert str(error).endswith("00000000: must have what was written to it before the restart; got 0 bytes")


def test_without_a_state_file_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blocks, rows = Blocks(100), list[Any]()

    async def slow(batch: Batch) -> None:
        await asyncio.sleep(0)

    with graph(blocks.source(), on_slow("spill"), to_callback(slow), collect(rows)).run() as run:
        run.wait()
    assert [row["n"] for row in rows] == list(range(100))
    assert list(tmp_path.iterdir()) == []
