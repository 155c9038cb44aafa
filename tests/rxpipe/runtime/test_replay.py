"""Dead letters: kept whole, listed, and sent through the graph again, exactly once."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxpipe
from rxpipe import Batch, LineDelta, RxpipeError, Selection, operators, stream
from rxpipe.elements import FileEvent, FileState, OriginGone, error_record
from rxpipe.faults.letters import Letter, line_of, read, read_again
from rxpipe.lease import Flow
from rxpipe.runtime.replay import dead_letters
from rxpipe.runtime.state import StateFile
from rxpipe.table import Table
from rxpipe.testing import VirtualRun

ops: Any = operators
broken: set[Any] = set()
calls: list[Any] = []
between: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    broken.clear()
    calls.clear()
    between.clear()


def dated(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "at": record["at"] and datetime.fromisoformat(record["at"])}


def check(record: dict[str, Any]) -> dict[str, Any]:
    """Somebody else's function, which fails for some records until that is mended."""
    calls.append(record["n"])
    for call in between:
        call()
    if record["n"] in broken:
        msg = f"broken for {record['n']}"
        raise ValueError(msg)
    return record


class Kept:
    """A graph that keeps its dead letters, its files and its state, in one folder."""

    def __init__(self, folder: Path, **letters: Any) -> None:
        self.folder = folder
        self.input, self.out, self.dead = folder / "in.jsonl", folder / "out.jsonl", folder / "dead.jsonl"
        self.state = folder / "state.sqlite"
        self.streams: dict[str, Any] = {
            "records": [
                ops.watch([str(self.input)]),
                ops.read_lines(),
                ops.parse_json(fields={"n": "n", "at": "at"}),
                ops.map_async(dated, ordered=True),
                ops.call(check),
                ops.aggregate(calls="count()") if letters.pop("counting", False) else ops.to_jsonl(str(self.out)),
            ],
            "dead": [stream("errors"), ops.to_dead_letters(str(self.dead), **letters)],
        }
        self.graph = rxpipe.Graph("kept", self.streams)

    def run(self, replay: Selection | None = None) -> Any:
        with VirtualRun(self.graph, once=True, state=self.state, replay=replay) as run:
            run.advance(10)
            assert run.engine.over()
            return run.engine.replay

    def written(self) -> list[int]:
        return [orjson.loads(line)["n"] for line in self.out.read_bytes().splitlines()]

    def listed(self, **chosen: Any) -> list[Any]:
        return dead_letters(self.graph.plan(), self.state, Selection(**chosen))

    def unsent(self) -> list[int]:
        return [kept.found.letter.record["n"] for kept in self.listed() if kept.sent is None]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    made = Kept(tmp_path)
    made.input.write_text("".join(f'{{"n": {n}, "at": "2026-01-0{n + 1}T00:00:00Z"}}\n' for n in range(6)))
    return made


def test_a_letter_says_all(kept: Kept) -> None:
    broken.add(3)
    kept.run()
    assert kept.written() == [0, 1, 2, 4, 5]
    (line,) = map(orjson.loads, kept.dead.read_bytes().splitlines())
    assert {**line, "time": 0, "end": 0} == {
        "stream": "records",
        "step": "records[4] call",
        "reason": "ValueError: broken for 3",
        "time": 0,
        "path": str(kept.input),
        "start": 0,
        "end": 0,
        "kind": "record",
        "record": {"n": 3, "at": "2026-01-04T00:00:00Z"},
        "types": {"at": "datetime"},
    }


def test_what_is_sent_again_comes_through_once(kept: Kept) -> None:
    broken.update({1, 3})
    kept.run()
    broken.clear()
    calls.clear()
    assert kept.run(Selection()).sent == 2
    assert (kept.written(), calls) == ([0, 2, 4, 5, 1, 3], [1, 3])  # from the step that rejected them
    assert kept.unsent() == []
    assert kept.run(Selection()).sent == 0
    kept.run()
    assert kept.written() == [0, 2, 4, 5, 1, 3]


def test_what_is_still_wrong_is_a_letter_of_its_own(kept: Kept) -> None:
    broken.update({1, 3})
    kept.run()
    broken.remove(1)
    assert kept.run(Selection()).sent == 2
    assert (kept.written(), kept.unsent(), len(kept.listed())) == ([0, 2, 4, 5, 1], [3], 3)
    broken.clear()
    assert kept.run(Selection()).sent == 1
    assert (kept.written()[-1], kept.unsent()) == (3, [])


def test_values_keep_their_types(kept: Kept) -> None:
    broken.add(3)
    kept.run()
    broken.clear()
    seen: list[Any] = []
    with VirtualRun(
        kept.graph, once=True, state=kept.state, replay=Selection(), watch=lambda *at: seen.append(at)
    ) as run:
        run.advance(10)
    rows = [row for name, element in seen if name == "records" for row in element.rows]
    assert rows == [{"n": 3, "at": datetime(2026, 1, 4, tzinfo=UTC)}]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [1, 3]),
        ({"stream": "records"}, [1, 3]),
        ({"stream": "record"}, []),
        ({"step": "call"}, [1, 3]),
        ({"step": "where"}, []),
        ({"reason": "for 3"}, [3]),
        ({"since": 5.0}, []),
        ({"until": 5.0}, [1, 3]),
        ({"since": 0.0, "reason": "broken"}, [1, 3]),
    ],
)
def test_selections(kept: Kept, chosen: dict[str, Any], expected: list[int]) -> None:
    broken.update({1, 3})
    kept.run()
    assert [entry.found.letter.record["n"] for entry in kept.listed(**chosen)] == expected
    broken.clear()
    assert kept.run(Selection(**chosen)).sent == len(expected)
    assert kept.written() == [0, 2, 4, 5, *expected]
    assert kept.unsent() == [n for n in (1, 3) if n not in expected]


def test_one_by_its_id(kept: Kept) -> None:
    broken.update({1, 3})
    kept.run()
    broken.clear()
    one, other = (entry.found.id for entry in kept.listed())
    assert (one, kept.run(Selection(ids=(other,))).sent, kept.unsent()) == ("dead.jsonl:0", 1, [1])


def test_lines_that_cannot_be_parsed(kept: Kept) -> None:
    kept.input.write_bytes(b'{"n": 1}\n{"n": tru}\n\xff\xfe bad\n{"n": 2}\n')
    kept.run()
    letters = [entry.found.letter for entry in kept.listed()]
    assert [(letter.kind, letter.start, letter.end) for letter in letters] == [("line", 9, 19), ("bytes", 20, 26)]
    assert letters[0].record == '{"n": tru}'
    element = letters[1].element(Flow())
    assert (element.data, element.path, element.start) == (b"\xff\xfe bad\n", str(kept.input), 20)
    assert kept.run(Selection()).sent == 2  # nothing was mended
    assert len([entry for entry in kept.listed() if entry.sent is None]) == 2


def test_aggregates_go_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path, counting=True)
    kept.input.write_text('{"n": 1}\n{"n": 2}\n')
    broken.add(2)
    kept.run()
    broken.clear()
    with VirtualRun(kept.graph, once=True, state=kept.state, replay=Selection()) as run:
        run.advance(10)
        assert run.engine.tables["records"].dicts() == [{"calls": 2}]


def test_letters_of_several_files(tmp_path: Path) -> None:
    kept = Kept(tmp_path, max_size=300)
    kept.input.write_text("".join(f'{{"n": {n}}}\n' for n in range(8)))
    broken.update(range(8))
    kept.run()
    assert len({entry.found.id.partition(":")[0] for entry in kept.listed()}) > 2
    broken.clear()
    assert kept.run(Selection()).sent == 8
    assert kept.written() == [*range(8)]
    assert kept.unsent() == []


@pytest.mark.parametrize("chosen", [Selection(), Selection(ids=("dead.jsonl:0",)), Selection(ids=("more.jsonl:0",))])
def test_what_several_steps_keep_is_sent_once(kept: Kept, chosen: Selection) -> None:
    more = [stream("errors"), ops.to_dead_letters(str(kept.folder / "more.jsonl"))]
    kept.graph = rxpipe.Graph("kept", {**kept.streams, "more": more})
    broken.add(3)
    kept.run()
    broken.clear()
    assert kept.run(chosen).sent == 1
    assert [entry.sent is None for entry in kept.listed()] == [False, False]
    assert kept.run(Selection()).sent == 0
    assert kept.written() == [0, 1, 2, 4, 5, 3]


def test_equal_errors_are_each_sent(kept: Kept) -> None:
    kept.input.write_text('{"n": 1, "at": null}\n' * 3)
    broken.add(1)
    kept.run()
    broken.clear()
    assert kept.run(Selection()).sent == 3
    assert kept.written() == [1, 1, 1]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RxpipeError, match="must be a file of dead letters that can be read; got Is a directory"):
        list(read([tmp_path]))
    path = tmp_path / "dead.jsonl"
    path.write_bytes(line_of(error_record("a[1] b", "why", {"n": 1}, time=1.0)))
    (found,) = read([path])
    assert read_again(path, found.offset, found.size) == found.letter
    path.write_bytes(b"")
    with pytest.raises(RxpipeError, match="byte 0: the letter must still be there; got"):
        read_again(path, found.offset, found.size)


def test_a_step_that_moved_is_found_and_one_that_is_gone_is_not(kept: Kept) -> None:
    broken.update({1})
    kept.run()
    broken.clear()
    text = kept.dead.read_text()
    kept.state.unlink()
    kept.out.unlink()
    kept.input.write_text("")
    kept.dead.write_text(text.replace("records[4]", "records[9]") + text.replace("[4] call", "[4] gone"))
    replay = kept.run(Selection())
    assert (replay.sent, replay.kept, kept.written()) == (1, [f"dead.jsonl:{len(text)}"], [1])


def test_what_a_graph_must_have(tmp_path: Path) -> None:
    graph = rxpipe.Graph("g", {"main": [ops.list_files(paths=["x"])]})
    with pytest.raises(RxpipeError, match="must keep dead letters to have any; got no step 'to_dead_letters'"):
        dead_letters(graph.plan(), None)
    with pytest.raises(RxpipeError, match="needs the state of the runs"):
        Kept(tmp_path).graph.start(replay=Selection(), state=False)


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    good = line_of(error_record("a[1] b", "why", {"n": 1}, time=1.0))
    path.write_bytes(b"no json\n" + good + b'{"stream": "a"')
    assert [(found.id, found.letter.record) for found in read([path])] == [("dead.jsonl:8", {"n": 1})]


VALUES = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False),
    st.binary(), st.decimals(allow_nan=False), st.uuids(), st.dates(), st.times(), st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(timedelta(days=-999), timedelta(days=999)), st.lists(st.integers(0, 9)), st.sets(st.integers(0, 9)),
)  # fmt: skip


INSIDE = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=3) | st.integers() | st.dates(), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), INSIDE, max_size=5))
def test_a_record_survives_the_file(row: dict[str, Any]) -> None:
    found = written(row)
    assert repr(found.element(Flow()).rows) == repr([row]) or found.element(Flow()).rows == [row]


def test_values_inside_of_others_keep_their_types() -> None:
    row = {"days": [date(2026, 1, 31)], "parts": {"t": (1, 2), "n": float("inf")}, "keys": {1: "one"}, "n": 2**70}
    letter = written(row)
    assert letter.record == {name: repr(value) for name, value in row.items()}  # to look at; what counts is in `exact`
    assert repr(letter.element(Flow()).rows) == repr([row])
    assert written(Batch([row, {"a": 1}])).element(Flow()) == Batch([row, {"a": 1}])


@given(st.binary().filter(lambda data: b"\n" not in data))
def test_a_line_survives_the_file(data: bytes) -> None:
    element = written(data).element(Flow())
    assert (element.data, element.end - element.start) == (data + b"\n", len(data) + 1)


def written(whole: Any, **place: Any) -> Any:
    return msgspec.json.decode(line_of(error_record("a[1] b", "why", whole, time=1.0, **place)), type=Letter)


def test_batches_and_blocks_survive_the_file() -> None:
    batch = Batch(
        [{"a": b"x"}, {"a": 1}, {"b": Decimal("1.50"), "c": UUID(int=1), "d": date(2026, 1, 1), "e": time(1)}]
    )
    assert written(batch).element(Flow()) == batch
    block = written(LineDelta("p", "f", 3, 9, b"a\nbc\n\xc3\xa4\n")).element(Flow())
    assert block.data == b"a\nbc\n\xc3\xa4\n"
    assert written(LineDelta("p", "f", 0, 2, b"\xff\n")).element(Flow()).data == b"\xff\n"


def test_what_a_batch_takes_back_survives_the_file() -> None:
    batch = Batch([{"a": 2}], [{"a": 1, "d": date(2026, 1, 1)}], retractable=True)
    again = written(batch).element(Flow())
    assert (again, again.retractable) == (batch, True)


@pytest.mark.parametrize(
    "whole",
    [
        FileEvent("modify", "/a", FileState(1, 2, 3, 4), FileState(1, 2, 5, 6)),
        FileEvent("create", "/b", None, FileState(1, 2, 5, 6), known=True),
        5,
        [1, date(2026, 1, 1)],
    ],
)
def test_other_elements_survive_the_file(whole: Any) -> None:
    assert written(whole).element(Flow()) == whole


def test_a_letter_of_a_file_whose_name_is_no_unicode() -> None:
    letter = written(b"x", path="/\udcff.log", start=0, end=1)
    assert (letter.path, letter.element(Flow()).data) == ("/\\udcff.log", b"x\n")


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("record", {"record": 5}),
        ("record", {"types": {"b": "date"}}),
        ("record", {"types": {"a": "nothing"}}),
        ("record", {"exact": {"a": "no base64"}}),
        ("record", {"exact": {"a": "wQ=="}}),
        ("batch", {"types": [{}, {}, {}]}),
        ("line", {"record": 5}),
        ("bytes", {"record": "ä"}),
        ("event", {"record": {"kind": "modify"}}),
        ("value", {}),
    ],
)
def test_what_somebody_broke_is_refused(kind: Any, changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"record": [{"a": 1}] if kind == "batch" else {"a": 1}} | changed
    with pytest.raises(ValueError, match="cannot be sent again: its record must be as it was kept, or like it; got"):
        Letter("a", "a[1] b", "why", 1.0, kind=kind, **given).element(Flow())


@pytest.mark.parametrize(
    "whole",
    [
        "shown only",
        object(),
        {"o": object()},
        {"t": "\ud800"},
        [1, 2j],
        Table("t", (), list, lambda: 0),
        OriginGone("/a"),
    ],
)
def test_what_has_no_form_is_shown_and_not_sent(whole: Any) -> None:
    letter = written(whole)
    assert letter.kind is None
    with pytest.raises(ValueError, match="only shown"):
        letter.element(Flow())


class Crash(BaseException):
    """The process is gone."""


def checkpoint_of(run: VirtualRun) -> Any:
    return lambda *_: run.engine.checkpoints.take()


SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(6, 500))]


@pytest.mark.parametrize("seed", SEEDS)
def test_exactly_once_whenever_it_is_killed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    crashes = [(rng.randrange(1, 5), rng.random() < 0.5) for _ in range(4)]
    crashed = 0
    kept = Kept(tmp_path)
    kept.input.write_text("".join(f'{{"n": {n}}}\n' for n in range(20)))
    broken.clear()
    broken.update(rng.sample(range(20), 12))
    kept.run()
    still = set(rng.sample(sorted(broken), 3))
    broken.clear()
    broken.update(still)
    commit = StateFile.commit
    for steps, before in crashes:
        left = steps

        def crashing(self: StateFile, changes: Any, before: bool = before) -> int:
            nonlocal left
            left -= 1
            if left <= 0 and before:
                raise Crash
            count = commit(self, changes)
            if left <= 0:
                raise Crash
            return count

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StateFile, "commit", crashing)
            run = VirtualRun(kept.graph, once=True, state=kept.state, replay=Selection())
            between[:] = [lambda run=run: rng.random() < 0.5 and run.virtual.schedule(checkpoint_of(run))]
            try:
                with run:
                    run.advance(10)
            except Crash:
                crashed += 1
            finally:
                run.engine.stop()
    between.clear()
    broken.difference_update(still)
    for _ in range(4):
        kept.run(Selection())
    kept.run()
    assert sorted(kept.written()) == [*range(20)]
    assert (crashed > 0, kept.unsent()) == (True, [])
