"""A changed graph on the state of what it was before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rxpipe.errors import StateError
from rxpipe.runtime.adoption import adopt, spool_of
from rxpipe.runtime.state import StateFile
from tests.rxpipe.runtime.changing import KEPT, RECORDS, World

TOTALS = """
  totals: [{from: records}, {aggregate: {n: count()}}, {to_jsonl: {path: FOLDER/totals.jsonl}}]
"""
CHANGED = KEPT.replace("{dedupe: n}", "{where: n != 3}, {dedupe: n}")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One that has run over ten records."""
    made = World(tmp_path)
    made.write(10)
    made.run(RECORDS, KEPT)
    assert made.lines() == [*range(10)]
    made.write(5)
    return made


def test_what_is_unchanged_goes_on_and_what_is_new_starts_afresh(world: World) -> None:
    world.run(RECORDS, KEPT, TOTALS)
    assert world.lines() == [*range(15)]
    assert world.lines("totals") == [5], "what comes from now on"


def test_the_order_of_streams_says_nothing(world: World) -> None:
    world.run(RECORDS, TOTALS, KEPT)
    world.write(1)
    world.run(RECORDS, KEPT, TOTALS)
    assert world.lines() == [*range(16)]
    assert world.lines("totals") == [5, 6]


def test_what_cannot_be_matched_is_refused_and_left_alone(world: World) -> None:
    match = (
        r"each state must belong to a step of graph 'changing'; got some that fit nothing: kept\[1\] dedupe does "
        r"something else now, or what it reads does; kept\[2\] to_jsonl .*Undo the change; or forget these states, "
        r"so that the steps start afresh with what comes from now on: rxpipe run <text> --reset kept$"
    )
    for _ in range(2):
        with pytest.raises(StateError, match=match):
            world.run(RECORDS, CHANGED)
    world.run(RECORDS, KEPT)
    assert world.lines() == [*range(15)]


def test_a_changed_stream_starts_afresh_if_told_to(world: World) -> None:
    with (world.folder / "kept.jsonl").open("a") as file:
        file.write('{"n": 99}\n')  # as a run leaves behind that was killed after its checkpoint
    world.run(RECORDS, CHANGED, reset=["kept"])
    assert world.lines() == [*range(15)], "the sink goes on where it was"
    world.write(1)
    world.run(RECORDS, CHANGED, reset=["kept"])
    assert world.lines() == [*range(16)], "what is unchanged is not reset"


def test_what_a_step_reads_counts(world: World) -> None:
    changed = RECORDS + "    - where: n > 0\n"
    with pytest.raises(StateError, match=r"--reset kept$"):
        world.run(changed, KEPT)


def test_a_changed_source_says_what_a_reset_means(world: World) -> None:
    changed = RECORDS.replace("read_lines", "read_lines: {max_line: 10KB}")
    match = (
        r"--reset kept --reset records; records\[1\] read_lines would then read everything again, and sinks behind "
        r"it get it twice$"
    )
    with pytest.raises(StateError, match=match):
        world.run(changed, KEPT)
    world.run(changed, KEPT, reset=["kept", "records"])
    assert world.lines() == [*range(10), *range(15)]


def test_a_stream_that_is_gone_is_refused(world: World) -> None:
    renamed = KEPT.replace("kept:", "renamed:")
    with pytest.raises(StateError, match=r"kept\[1\] dedupe is gone; kept\[2\] to_jsonl is gone.* --reset kept$"):
        world.run(RECORDS, renamed)
    world.run(RECORDS, renamed, reset=["kept"])
    assert world.lines() == [*range(15)]


def test_a_step_that_is_shown_shifts_the_others(world: World) -> None:
    shifted = KEPT.replace("{dedupe: n}", "{to_log: {level: trace}}, {dedupe: n}, {to_log: {level: trace}}")
    spool = spool_of(world.state, "kept[1] dedupe")
    os.makedirs(spool)
    (spool / "data").touch()
    world.run(RECORDS, shifted)
    assert world.lines() == [*range(15)]
    assert [path.name for path in spool_of(world.state).iterdir()] == ["kept[2] dedupe"]
    world.run(RECORDS, KEPT)
    world.write(1)
    world.run(RECORDS, KEPT)
    assert world.lines() == [*range(16)]


def test_without_sinks_a_shifted_step_goes_on_and_a_changed_one_starts_all_afresh(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(3)
    for total in ("sum(n)", "count()"):
        for before in ("", "{to_log: {level: trace}}, "):
            seen = f"\n  seen: [{{from: records}}, {before}{{aggregate: {{total: {total}}}}}]\n"
            with world.graph(RECORDS, seen).run(once=True, state=world.state) as run:
                run.wait(30)
                assert run.rows("seen") == [{"total": 3}]


def test_an_unknown_stream_to_reset(world: World) -> None:
    with pytest.raises(StateError, match=r"--reset: must name a stream .*; got 'kep', did you mean 'kept'\?"):
        world.run(RECORDS, KEPT, reset=["kep"])


def test_a_reset_without_a_state_file(world: World) -> None:
    with pytest.raises(StateError, match="must keep its state in a file; got none"):
        world.graph(RECORDS, KEPT).run(reset=["kept"])


def test_a_state_that_tells_nothing_of_its_steps(world: World) -> None:
    file = StateFile(world.state)
    file.db.execute("DELETE FROM meta WHERE name = 'steps'")
    with pytest.raises(StateError, match="written by another definition of graph 'changing'"):
        adopt(file, world.graph(RECORDS, CHANGED).plan())
    adopt(file, world.graph(RECORDS, KEPT).plan())
    file.close()
    world.run(RECORDS, KEPT, TOTALS)
    assert world.lines() == [*range(15)]
