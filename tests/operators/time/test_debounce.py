"""`debounce`."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.elements import Batch, FileEvent, FileState, LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.time.debounce import debounce
from rxpipe.testing import Event, MarbleSource, TestContext, parse_marbles, record, run_marbles


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "|"),
        ("---|", "---|"),
        ("-a----|", "---a--|"),
        ("-a|", "--(a|)"),
        ("-a-----b----|", "---a-----b--|"),
        ("-abc----|", "-----c--|"),
        ("-abc|", "----(c|)"),
        ("#", "#"),
        ("-a#", "--#"),
        ("-a---#", "---a-#"),
        ("(abc)---|", "--c-|"),
    ],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(debounce("200ms"), source) == expected


def test_steady_writes_get_through() -> None:
    assert run_marbles(debounce("300ms"), "-abcdefghi----|") == "------------i-|"
    assert run_marbles(debounce("300ms", at_most="400ms"), "-abcdefghi----|") == "-----e----i---|"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a----b----|", "-a----b----|"),
        ("-ab-------|", "-a---b----|"),
        ("-abcd-----|", "-a-----d--|"),
        ("-a--b-----|", "-a--b-----|"),
        ("-ab---c---|", "-a---bc---|"),
        ("-ab--c----|", "-a------c-|"),
        ("-ab|", "-a-(b|)"),
        ("-ab#", "-a-#"),
        ("-a|", "-a|"),
    ],
)
def test_leading(source: str, expected: str) -> None:
    assert run_marbles(debounce("300ms", leading=True), source) == expected


def test_leading_and_at_most() -> None:
    made = debounce("300ms", at_most="400ms", leading=True)
    assert run_marbles(made, "-abcdefghijk------|") == "-a----f----k------|"


def test_leading_by_key() -> None:
    values = {"a": {"k": 1, "v": 1}, "b": {"k": 2, "v": 2}, "c": {"k": 1, "v": 3}}
    assert run_marbles(debounce("300ms", by="k", leading=True), "-abc-----|", values) == "-ab---c--|"


def test_keys_that_are_quiet_are_not_remembered(context: TestContext) -> None:
    made = [made for made in gc.get_objects() if type(made).__name__ == "_Debounce"]
    source: Subject[Any] = Subject()
    source.pipe(debounce("200ms", leading=True, by="k")).subscribe(lambda _: None, scheduler=context.virtual)
    (new,) = [found for found in gc.get_objects() if type(found).__name__ == "_Debounce" and found not in made]
    for number in range(100):
        source.on_next({"k": number})
        context.virtual.advance_by(0.1)
    assert len(new.passed) <= 3


def test_by_key() -> None:
    values = {"a": {"k": 1, "v": 1}, "b": {"k": 2, "v": 2}, "c": {"k": 1, "v": 3}}
    assert run_marbles(debounce("200ms", by="k"), "-ab------|", values) == "---ab----|"
    assert run_marbles(debounce("200ms", by="k"), "-abc-----|", values) == "----bc---|"
    assert run_marbles(debounce("200ms", by="k"), "-abc|", values) == "----(bc|)"
    assert run_marbles(debounce("200ms", by="k + 1"), "-abc|", values) == "----(bc|)"


def test_zero_quiet() -> None:
    assert run_marbles(debounce(0), "-a-b|") == "-a-b|"


def test_early_disposal_lets_go(context: TestContext) -> None:
    source = MarbleSource("-a-------b", scheduler=context.virtual)
    assert record(source.pipe(debounce("500ms")), 0.3) == []
    assert source.subscriptions == [(0, 0.3)]
    context.virtual.start()


def test_an_element_without_a_key_is_rejected() -> None:
    context = TestContext()
    values = {"a": {"k": 1}, "b": {"x": 1}, "c": {"k": []}}
    assert run_marbles(debounce("200ms", by="k"), "-a-b-c--|", values, context=context) == "---a----|"
    assert [error.reason for error in context.errors] == ["KeyError: 'k'", "TypeError: unhashable type: 'list'"]


def test_parameters_are_checked() -> None:
    with pytest.raises(ParameterError, match="quiet: duration must be"):
        debounce("soon")
    with pytest.raises(ParameterError, match="'quiet' is missing"):
        debounce()  # type: ignore[call-arg]  # that is the point


def state(size: int) -> FileState:
    return FileState(1, 1, size, size)


def merged(*events: FileEvent) -> list[FileEvent]:
    context = TestContext()
    source = MarbleSource([Event(0, "next", event) for event in events], scheduler=context.virtual)
    found = record(source.pipe(debounce("200ms", by="path")), context=context)
    return [event.value for event in found]


def test_modifications_become_one() -> None:
    events = [FileEvent("modify", "f", state(n), state(n + 1)) for n in range(5)]
    assert merged(*events) == [FileEvent("modify", "f", state(0), state(5))]


def test_a_creation_takes_up_its_modifications() -> None:
    events = merged(FileEvent("create", "f", None, state(0)), FileEvent("modify", "f", state(0), state(9)))
    assert events == [FileEvent("create", "f", None, state(9))]


def test_a_known_file_keeps_where_it_was_found() -> None:
    events = [FileEvent("create", "f", None, state(0), known=True), FileEvent("modify", "f", state(0), state(9))]
    assert merged(*events) == events


@pytest.mark.parametrize("kind", ["delete", "rename", "truncate", "replace"])
def test_other_events_are_not_swallowed(kind: Any) -> None:
    event = FileEvent(kind, "f", state(5), state(1))
    before, after = FileEvent("modify", "f", state(4), state(5)), FileEvent("modify", "f", state(1), state(2))
    assert merged(before, event, after) == [before, event, after]


def test_a_rename_comes_behind_what_is_held_for_the_old_path() -> None:
    created = FileEvent("create", "f", None, state(5))
    renamed = FileEvent("rename", "g", state(5), state(5), old_path="f")
    gone = FileEvent("delete", "g", state(5), None)
    assert merged(created, renamed, gone) == [created, renamed, gone]


@pytest.mark.parametrize("leading", [False, True])
def test_what_comes_of_the_old_path_of_a_rename_comes_behind_it(leading: bool) -> None:
    modified = FileEvent("modify", "b", state(1), state(2))
    renamed = FileEvent("rename", "b", state(5), state(5), old_path="a")
    created = FileEvent("create", "a", None, state(0))
    context = TestContext()
    events = [(0, modified), (0.05, renamed), (0.07, created), (0.08, modified), (0.5, created)]
    source = MarbleSource([Event(at, "next", event) for at, event in events], scheduler=context.virtual)
    found = record(source.pipe(debounce("100ms", by="path", leading=leading)), context=context)
    assert [event.value for event in found] == [modified, renamed, created, modified, created]


def test_batches_are_merged_and_blocks_pass(context: TestContext) -> None:
    one, two = Batch([{"n": 1}]), Batch([{"n": 2}], [{"n": 1}])
    assert run_marbles(debounce("200ms"), "-ab|", {"a": one, "b": two, "c": Batch([{"n": 2}])}) == "---(c|)"
    blocks = {"a": LineDelta("f", "f", 0, 1, b"\n"), "b": LineDelta("f", "f", 1, 2, b"\n")}
    assert run_marbles(debounce("200ms"), "-ab|", blocks) == "--a(b|)"
    gone = {"g": OriginGone("f")}
    assert run_marbles(debounce("500ms"), "-a-g-|", gone) == "---(ag)-|"


def test_a_checkpoint_gets_its_leases(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    seen: list[int] = []
    source.pipe(debounce("5s", by="n")).subscribe(lambda element: seen.append(len(element)))
    source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))
    assert (context.flow.blocks, context.gauges["queue_depth"]()) == (1, 1)
    context.checkpoint()
    assert (seen, context.flow.blocks) == ([1], 0)


def test_an_error_and_disposal_let_go_of_leases(context: TestContext) -> None:
    for end in ("error", "dispose"):
        source: Subject[Any] = Subject()
        subscription = source.pipe(debounce("5s")).subscribe(lambda _: None, lambda _: None)
        source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))
        if end == "error":
            source.on_error(ValueError("x"))
        else:
            subscription.dispose()
        assert context.flow.blocks == 0


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=30),
    st.integers(0, 9),
    st.one_of(st.none(), st.integers(1, 20)),
    st.booleans(),
)
def test_against_the_definition(moments: list[tuple[int, str]], quiet: int, at_most: int | None, leading: bool) -> None:
    """Whatever comes when, what is emitted is what the definition says, computed key by key with no timers."""
    moments.sort(key=lambda moment: moment[0])
    events = [Event(at / 10, "next", (key, number)) for number, (at, key) in enumerate(moments)]
    expected = []
    for key in "abc":
        mine = [(at, number) for number, (at, k) in enumerate(moments) if k == key]
        first = last = None
        for index, (at, number) in enumerate(mine):
            if leading and first is None and (index == 0 or at >= mine[index - 1][0] + quiet):
                expected.append((at / 10, (key, number)))
                continue
            first = at if first is None else first
            last = number
            due = at + quiet if at_most is None else min(at + quiet, first + at_most)
            following = mine[index + 1][0] if index + 1 < len(mine) else 10**9
            if following > due:
                expected.append((due / 10, (key, last)))
                first = None
    context = TestContext()
    limits: dict[str, Any] = {} if at_most is None else {"at_most": at_most / 10}
    source = MarbleSource(
        [Event(e.time, e.kind, {"k": e.value[0], "e": e.value}) for e in events], scheduler=context.virtual
    )
    got = record(source.pipe(debounce(quiet / 10, by="k", leading=leading, **limits)), context=context)
    assert sorted((round(e.time, 6), e.value["e"]) for e in got) == sorted((round(t, 6), v) for t, v in expected)
    assert [e.time for e in got] == sorted(e.time for e in got)


def test_no_timer_per_element() -> None:
    context = TestContext()
    source = MarbleSource([Event(n / 1e4, "next", n) for n in range(1000)], scheduler=context.virtual)
    subscription = source.pipe(debounce("1s")).subscribe(lambda _: None, scheduler=context.virtual)
    context.virtual.advance_to(0.5)
    assert context.virtual.pending <= 2
    subscription.dispose()
    gc.collect()


def test_second_subscription_is_its_own() -> None:
    context = TestContext()
    observable = MarbleSource("-ab---|", scheduler=context.virtual).pipe(debounce("200ms"))
    assert record(observable, context=context) == record(observable, context=context) == parse_marbles("----b-|")


def test_files_have_their_own_key() -> None:
    values = {name: FileEvent("modify", name) for name in "fg"}
    assert run_marbles(debounce("200ms"), "-fgfg----|", values) == "-----fg--|"
