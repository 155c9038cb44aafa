"""`window`: fixed, overlapping and session windows, the watermark, what is late, the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import RxpipeError
from rxpipe.lease import Lease
from rxpipe.testing import TestContext, VirtualTimeScheduler

Step = Callable[[Observable[Any]], Observable[Any]]


class Fed:
    """A step fed by hand: what came out, what was late, and the context."""

    def __init__(self, step: Step, context: TestContext | None = None) -> None:
        self.context = context or TestContext()
        self.batches: list[Batch] = []
        self.ended: list[Any] = []
        self.source: Subject[Any] = Subject()
        with entered(self.context):
            self.source.pipe(step).subscribe(
                lambda batch: self.batches.append(Batch(batch.rows)),
                self.ended.append,
                lambda: self.ended.append("completed"),
                scheduler=self.context.virtual,
            )

    def give(self, *rows: dict[str, Any], **more: Any) -> Fed:
        with entered(self.context):
            self.source.on_next(Batch(list(rows), **more))
        return self

    def at(self, *times: float, **more: Any) -> Fed:
        return self.give(*({"t": time} for time in times), **more)

    def wait(self, seconds: float) -> Fed:
        with entered(self.context):
            self.context.virtual.advance_by(seconds)
        return self

    def end(self) -> Fed:
        with entered(self.context):
            self.source.on_completed()
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.rows]

    @property
    def counts(self) -> list[tuple[float, float, int]]:
        return [(row["start"], row["end"], row["n"]) for row in self.rows]

    @property
    def late(self) -> list[Any]:
        return [row["t"] for batch in self.context.outputs["late"] for row in batch.rows]

    @property
    def late_retracted(self) -> list[Any]:
        return [row["t"] for batch in self.context.outputs["late"] for row in batch.retracted]

    def gauge(self, name: str) -> float:
        return self.context.gauges[name]()

    def again(self, step: Step) -> Fed:
        """Take a checkpoint, and go on from it in another run."""
        states = self.context.checkpoint()
        scheduler = VirtualTimeScheduler()
        scheduler.advance_to(self.context.virtual.time)
        return Fed(step, TestContext(states, scheduler=scheduler))


def test_tumbling() -> None:
    fed = Fed(ops.window(size="10s", time="t", n="count()")).at(0, 9.999999, 10, 35)
    assert fed.counts == [(0, 10, 2), (10, 20, 1)]
    assert fed.at(-1).late == [-1]
    assert fed.end().counts[2:] == [(30, 40, 1)]
    assert fed.ended == ["completed"]


def test_times_before_the_epoch() -> None:
    fed = Fed(ops.window(size="10s", time="t", lateness="1h", n="count()")).at(-1, -10, -10.5, 0).end()
    assert fed.counts == [(-20, -10, 1), (-10, 0, 2), (0, 10, 1)]


def test_overlapping() -> None:
    fed = Fed(ops.window(size="10s", every="4s", time="t", n="count()")).at(9).end()
    assert fed.counts == [(0, 10, 1), (4, 14, 1), (8, 18, 1)]


def test_a_record_that_finds_some_of_its_windows_open_is_not_late() -> None:
    fed = Fed(ops.window(size="10s", every="5s", time="t", n="count()")).at(11, 6, 4).end()
    assert fed.late == [4]
    assert fed.counts == [(5, 15, 2), (10, 20, 1)]


def test_sizes_that_are_no_whole_seconds() -> None:
    fed = Fed(ops.window(size="100ms", time="t", n="count()")).at(*(n / 10 for n in range(10))).end()
    assert fed.counts == [(n / 10, (n + 1) / 10, 1) for n in range(10)]


def test_sessions() -> None:
    fed = Fed(ops.window(gap="10s", time="t", lateness="20s", by=["u"], n="count()"))
    fed.give({"t": 0, "u": "a"}, {"t": 5, "u": "b"}, {"t": 9.5, "u": "a"}, {"t": 19.5, "u": "a"})
    assert fed.rows == []
    fed.give({"t": 40, "u": "c"}, {"t": 100, "u": "c"})
    assert fed.rows == [
        {"start": 5, "end": 15, "u": "b", "n": 1},
        {"start": 0, "end": 19.5, "u": "a", "n": 2},
        {"start": 19.5, "end": 29.5, "u": "a", "n": 1},
        {"start": 40, "end": 50, "u": "c", "n": 1},
    ]


def test_a_record_between_two_sessions_makes_them_one() -> None:
    columns: dict[str, Any] = {
        "n": "count()", "s": "sum(v)", "m": "mean(v)", "lo": "min(v)", "hi": "max(v)", "f": "first(v)", "l": "last(v)",
    }  # fmt: skip
    step = ops.window(gap="10s", time="t", lateness="20s", **columns)
    whole = {"start": 0, "end": 25, "n": 3, "s": 12, "m": 4, "lo": 1, "hi": 7, "f": 4, "l": 7}
    rows = [{"t": 15, "v": 1}, {"t": 0, "v": 4}, {"t": 8, "v": 7}]
    assert Fed(step).give(*rows).end().rows == [whole]
    fed = Fed(step).give(rows[0]).give(rows[1])
    assert fed.gauge("windows") == 2
    assert fed.give(rows[2]).gauge("windows") == 1
    assert fed.end().rows == [whole]
    # where values are kept, since records may be taken back
    assert Fed(step).give(*rows, retractable=True).end().rows == [whole]


def test_sessions_that_cannot_be_joined_stay_two() -> None:
    fed = Fed(ops.window(gap="10s", time="t", lateness="20s", lo="min(v)"))
    fed.give({"t": 0, "v": 1}, {"t": 15, "v": "x"}, {"t": 8, "v": 2}).end()
    assert [row["lo"] for row in fed.rows] == [1, "x"]
    assert [error.reason[:10] for error in fed.context.errors] == ["TypeError:"]


def test_a_session_that_ended_is_not_joined_in_the_same_batch() -> None:
    fed = Fed(ops.window(gap="10s", time="t", n="count()")).at(0, 15, 9).end()
    assert (fed.counts, fed.late) == ([(0, 10, 1), (9, 25, 2)], [])


def test_the_batches_make_no_difference() -> None:
    times = [3, 61, 58, 75, 2, 300, 290, 291, 100]
    step = ops.window(size="1m", time="t", lateness="10s", n="count()", l="last(t)")
    whole, single = Fed(step).at(*times), Fed(step)
    for time in times:
        single.at(time)
    assert whole.rows == single.rows != []
    assert whole.late == single.late != []


@pytest.mark.parametrize("time", [61, 61.0, "1970-01-01T00:01:01Z", "1970-01-01T02:01:01+02:00"])
def test_forms_of_times(time: Any) -> None:
    assert Fed(ops.window(size="1m", time="t", n="count()")).at(time).end().counts == [(60, 120, 1)]


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (None, "TypeError: time must be seconds, an RFC 3339 text or a datetime; got NoneType"),
        ("soon", "ValueError: time must be an RFC 3339 text"),
        (float("nan"), "ValueError: time must be a finite number of seconds; got nan"),
        (float("inf"), "ValueError: time must be a finite number of seconds; got inf"),
    ],
)
def test_what_is_no_time(time: Any, reason: str) -> None:
    fed = Fed(ops.window(size="1m", time="t", n="count()")).at(1, time, 2, leases=()).end()
    assert fed.counts == [(0, 60, 2)]
    assert [error.reason.startswith(reason) for error in fed.context.errors] == [True]


def test_a_record_is_rejected_once_and_names_its_origin() -> None:
    fed = Fed(ops.window(size="10s", every="1s", time="t", s="sum(v)"))
    lease = Lease(fed.context.flow, 1, "f", 3, 9)
    fed.give({"t": 1, "v": "x"}, {"t": 1, "v": [1]}, {"t": 1, "v": 2}, leases=(lease,))
    assert [(error.path, error.start) for error in fed.context.errors] == [("f", 3), ("f", 3)]
    del lease
    assert fed.context.flow.blocks == 0
    assert {row["s"] for row in fed.end().rows} == {2}


@pytest.mark.parametrize("kind", [{"size": "10s"}, {"gap": "10s"}])
def test_a_key_that_is_a_list(kind: Any) -> None:
    fed = Fed(ops.window(time="t", by=["k"], n="count()", **kind)).give({"t": 1, "k": [1]}, {"t": 1, "k": 1}).end()
    assert [row["k"] for row in fed.rows] == [1]
    assert len(fed.context.errors) == 1
    assert fed.give({"t": 1}, retracted=[{"t": 1, "k": [1]}]).batches == fed.batches


def test_equal_keys_and_several() -> None:
    fed = Fed(ops.window(size="10s", time="t", by=["a", "b + 1"], n="count()"))
    fed.give({"t": 1, "a": 1, "b": 0}, {"t": 2, "a": True, "b": 0}, {"t": 3, "a": 2, "b": 0}).end()
    assert fed.rows == [
        {"start": 0, "end": 10, "a": 1, "b + 1": 1, "n": 2},
        {"start": 0, "end": 10, "a": 2, "b + 1": 1, "n": 1},
    ]


def test_rows_of_several_windows_come_in_order() -> None:
    fed = Fed(ops.window(size="10s", time="t", by=["k"], lateness="1h"))
    fed.give(*({"t": t, "k": k} for t, k in [(25, "b"), (5, "c"), (25, "a"), (5, "a")]), {"t": 9999, "k": "z"})
    assert [(row["start"], row["k"]) for row in fed.rows] == [(0, "c"), (0, "a"), (20, "b"), (20, "a")]


# Late


def test_what_is_late_keeps_its_leases_and_does_not_mix() -> None:
    leases: list[int] = []
    step = ops.window(size="10s", time="t", n="count()")
    from rxpipe.outputs import with_outputs

    fed = Fed(with_outputs(step, late=lambda batch: leases.append(len(batch.leases))))
    fed.at(20).at(1, 21, leases=(Lease(fed.context.flow, 1),))
    assert leases == [1]
    assert fed.context.flow.blocks == 0


def test_a_gone_origin_is_told_to_late_only() -> None:
    fed = Fed(ops.window(size="10s", time="t", n="count()"))
    fed.source.on_next(OriginGone("f"))
    fed.source.on_next("something else")
    assert fed.context.outputs["late"] == [OriginGone("f")]
    assert fed.batches == []


# Retractions


@pytest.mark.parametrize("kind", [{"size": "10s"}, {"gap": "3s"}])
def test_a_retraction_finds_its_open_window(kind: Any) -> None:
    step = ops.window(time="t", lateness="10s", n="count()", hi="max(v)", **kind)
    fed = Fed(step).give({"t": 1, "v": 5}, {"t": 2, "v": 3}, retractable=True)
    fed.give({"t": 3, "v": 1}, retracted=[{"t": 1, "v": 5}], retractable=True).end()
    assert [(row["n"], row["hi"]) for row in fed.rows] == [(2, 3)]
    assert fed.late_retracted == []


@pytest.mark.parametrize("kind", [{"size": "10s"}, {"gap": "10s"}])
def test_a_window_whose_records_are_all_taken_back_is_gone(kind: Any) -> None:
    fed = Fed(ops.window(time="t", by=["k"], n="count()", **kind))
    fed.give({"t": 1, "k": 1}, retractable=True).give(retracted=[{"t": 1, "k": 1}, {"t": 1, "k": 2}])
    assert (fed.gauge("windows"), fed.gauge("groups")) == (0, 0)
    assert fed.give({"t": 2, "k": 1}).end().counts == [(0, 10, 1) if "size" in kind else (2, 12, 1)]


@pytest.mark.parametrize("kind", [{"size": "10s"}, {"gap": "10s"}])
def test_a_retraction_whose_window_has_closed_is_late(kind: Any) -> None:
    fed = Fed(ops.window(time="t", n="count()", **kind)).at(1, retractable=True).at(50)
    fed.give({"t": 51}, retracted=[{"t": 1}, {"t": "never counted"}]).end()
    assert fed.late_retracted == [1]
    assert [row["n"] for row in fed.rows] == [1, 2]


def test_by_arrival_retractions_are_late() -> None:
    fed = Fed(ops.window(size="10s", n="count()")).at(1).give(retracted=[{"t": 1}]).end()
    assert (fed.late_retracted, fed.counts) == ([1], [(0, 10, 1)])


# The clock


def test_by_arrival() -> None:
    fed = Fed(ops.window(size="10s", n="count()")).wait(3).at(1, 2).wait(6).at(3)
    assert fed.rows == []
    assert fed.wait(1).counts == [(0, 10, 3)]
    assert fed.at(4).wait(100).counts[1:] == [(10, 20, 1)]
    assert fed.context.virtual.pending <= 1


def test_sessions_by_arrival() -> None:
    fed = Fed(ops.window(gap="5s", by=["t"], n="count()")).at(1).wait(4).at(1).wait(2).at(2).wait(4)
    assert fed.counts == [(0, 9, 2)]
    assert fed.wait(1).counts == [(0, 9, 2), (6, 11, 1)]


def test_by_arrival_overlapping() -> None:
    fed = Fed(ops.window(size="10s", every="5s", n="count()")).wait(1).at(0).wait(100)
    assert fed.counts == [(-5, 5, 1), (0, 10, 1)]


def test_by_arrival_rows_hold_a_checkpoint_until_they_are_done_with() -> None:
    context = TestContext()
    held: list[Batch] = []
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(ops.window(size="10s", n="count()")).subscribe(held.append, scheduler=context.virtual)
        source.on_next(Batch([{"t": 1}]))
        assert context.flow.blocks == 0
        context.virtual.advance_by(10)
    assert context.flow.blocks == 1
    held.clear()
    assert context.flow.blocks == 0


def test_by_event_time_the_clock_changes_nothing() -> None:
    fed = Fed(ops.window(size="10s", time="t", n="count()")).at(1).wait(1e6)
    assert fed.rows == []
    assert fed.context.virtual.pending == 0


def test_after_silence_time_goes_on() -> None:
    fed = Fed(ops.window(size="10s", time="t", lateness="5s", idle="30s", n="count()")).at(9).wait(29)
    assert (fed.rows, fed.gauge("watermark")) == ([], 4)
    fed.wait(1)
    assert (fed.counts, fed.gauge("watermark")) == ([(0, 10, 1)], 34)
    assert fed.at(9, 33).late == [9, 33][:1]
    assert fed.wait(28).counts[1:] == []


def test_silence_begins_anew_with_each_record() -> None:
    fed = Fed(ops.window(size="100s", time="t", idle="30s", n="count()"))
    for _ in range(10):
        fed.at(5).wait(29)
    assert fed.rows == []
    assert fed.wait(67).counts == [(0, 100, 10)]  # 5 s into the window, 95 s of silence end it
    assert fed.at(5).late == [5]


# State, the end, figures


def test_a_checkpoint_closes_nothing_and_holds_no_lease() -> None:
    fed = Fed(ops.window(size="10s", time="t", n="count()")).at(1)
    fed.give({"t": 2}, leases=(Lease(fed.context.flow, 1),))
    fed.context.checkpoint()
    assert fed.rows == []
    assert fed.at(3, 10).counts == [(0, 10, 3)]


@pytest.mark.parametrize("retractable", [False, True])
def test_windows_and_watermark_are_saved(retractable: bool) -> None:
    step = ops.window(size="10s", time="t", lateness="5s", by=["k"], n="count()", hi="max(t)")
    fed = Fed(step).give({"t": 21, "k": "b"}, {"t": 17, "k": "a"}, {"t": 18, "k": "b"}, retractable=retractable)
    again = fed.again(step)
    assert again.gauge("watermark") == 16
    again.give({"t": 12, "k": "a"}, {"t": 9, "k": "a"}, retracted=[{"t": 18, "k": "b"}] * retractable).end()
    assert again.late == [9]
    assert [(row["start"], row["k"], row["n"], row["hi"]) for row in again.rows] == [
        (10, "a", 2, 17), *([] if retractable else [(10, "b", 1, 18)]), (20, "b", 1, 21),
    ]  # fmt: skip


def test_sessions_are_saved() -> None:
    step = ops.window(gap="10s", time="t", lateness="20s", by=["k"], n="count()")
    fed = Fed(step).give({"t": 0, "k": 1}, {"t": 15, "k": 1}, {"t": 3, "k": 2})
    again = fed.again(step).give({"t": 8, "k": 1}).again(step)
    assert again.gauge("windows") == 2
    assert again.end().rows == [
        {"start": 3, "end": 13, "k": 2, "n": 1},
        {"start": 0, "end": 25, "k": 1, "n": 3},
    ]
    assert again.again(step).end().rows == []


def test_only_what_changed_is_saved() -> None:
    fed = Fed(ops.window(size="10s", time="t", lateness="1h", by=["t"], n="count()")).at(*range(100))
    fed.context.checkpoint()
    changes = fed.context._changes[0]
    assert list(changes()) == []
    fed.at(5)
    assert len(list(changes())) == 1


def test_windows_that_ended_while_nobody_ran_close_at_once() -> None:
    step = ops.window(size="10s", n="count()")
    states = Fed(step).at(1).context.checkpoint()
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(1000)
    assert Fed(step, TestContext(states, scheduler=scheduler)).wait(0).counts == [(0, 10, 1)]


def test_a_clock_that_was_set_back_while_nobody_ran() -> None:
    step = ops.window(size="10s", n="count()")
    states = Fed(step).wait(25).at(1).context.checkpoint()
    fed = Fed(step, TestContext(states)).at(2)  # it is 0 again
    assert fed.end().counts == [(20, 30, 2)]


def test_each_window_is_emitted_once() -> None:
    step = ops.window(size="10s", time="t", n="count()")
    fed = Fed(step).at(1, 2).end()
    assert fed.counts == [(0, 10, 2)]
    again = fed.again(step).at(3, 10).end()
    assert (again.counts, again.late) == ([(10, 20, 1)], [3])


def test_a_run_that_is_stopped_leaves_its_windows_to_the_next() -> None:
    step = ops.window(size="10s", time="t", n="count()")
    fed = Fed(step).at(1, 2)
    fed.context.drain()
    assert (fed.end().counts, fed.ended) == ([], ["completed"])
    assert fed.again(step).at(3).end().counts == [(0, 10, 3)]


def test_an_error_passes_and_closes_nothing() -> None:
    fed = Fed(ops.window(size="10s", time="t", n="count()")).at(1)
    error = ValueError("of the source")
    fed.source.on_error(error)
    assert (fed.rows, fed.ended) == ([], [error])


def test_figures() -> None:
    fed = Fed(ops.window(size="10s", every="5s", time="t", lateness="5s", by=["t"], n="count()"))
    assert [fed.gauge(name) for name in ("watermark", "windows", "groups")] == [0, 0, 0]
    fed.at(1_000_000_001, 1_000_000_002)
    assert [fed.gauge(name) for name in ("watermark", "windows", "groups")] == [999_999_997, 2, 4]
    assert [fed.end().gauge(name) for name in ("windows", "groups")] == [0, 0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "one of 'size' and 'gap' must be given; got none"),
        ({"size": "1s", "gap": "1s"}, "one of 'size' and 'gap' must be given; got both"),
        ({"gap": "1s", "every": "1s"}, "'every' goes with 'size': sessions begin with their records"),
        ({"size": "1s", "lateness": "1s"}, "'lateness' and 'idle' go with 'time'"),
        ({"size": "1s", "idle": "1s"}, "'lateness' and 'idle' go with 'time'"),
        ({"size": "1s", "every": "2s"}, "'every' must be at most 'size'"),
        ({"size": "0s"}, "'every' must be at most 'size'"),
        ({"size": "1h", "every": "1s"}, "'every' must be at most 'size'"),
        ({"gap": "0s"}, "'gap' must be above 0; got "),
        ({"size": "1s", "by": ["start"]}, "the names of keys and columns must differ, and 'start' and 'end' are taken"),
        ({"size": "1s", "end": "count()"}, "the names of keys and columns must differ, and 'start' and 'end' are"),
        ({"size": "1s", "by": ["a"], "a": "count()"}, "the names of keys and columns must differ"),
        ({"size": "1s", "by": ["a", "a"]}, "the names of keys and columns must differ"),
    ],
)
def test_parameters_that_do_not_fit(parameters: Any, message: str) -> None:
    with pytest.raises(RxpipeError, match=f"^window: {message}"):
        Fed(ops.window(**parameters))
