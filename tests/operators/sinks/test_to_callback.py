"""`to_callback`: functions and coroutine functions, one call at a time."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RunError, RxpipeError
from rxpipe.lease import Lease
from rxpipe.operators.sinks.to_callback import to_callback
from rxpipe.testing import MarbleSource, TestContext, record, run_marbles


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str) -> None:
    seen: list[Any] = []
    assert run_marbles(to_callback(seen.append), source) == source
    assert seen == [char for char in source if char.isalpha()]


def test_by_name() -> None:
    assert run_marbles(to_callback("builtins:len"), "-a|") == "-a|"
    with pytest.raises(RxpipeError, match=re.escape("must have a function 'lem', did you mean 'len'?")):
        run_marbles(to_callback("builtins:lem"), "-a|")


def test_what_it_raises_is_rejected_once() -> None:
    context = TestContext()
    calls: list[str] = []

    def fail(element: str) -> None:
        calls.append(element)
        raise ValueError(element)

    assert run_marbles(to_callback(fail), "-a-b|", context=context) == "-a-b|"
    assert calls == ["a", "b"]
    assert [(error.reason, error.record) for error in context.errors] == [
        ("ValueError: a", "a"),
        ("ValueError: b", "b"),
    ]


def test_a_coroutine_needs_a_loop() -> None:
    async def call(element: Any) -> None: ...

    context = TestContext()
    with pytest.raises(RunError, match="needs a running asyncio loop"):
        record(MarbleSource("-a|", scheduler=context.virtual).pipe(to_callback(call)), context=context)


class Calls:
    """A coroutine function whose calls end when told."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.open: dict[str, asyncio.Future[None]] = {}

    async def __call__(self, batch: Batch) -> None:
        name = batch.rows[0]["n"]
        self.log.append(f"begin {name}")
        self.open[name] = asyncio.get_running_loop().create_future()
        try:
            await self.open[name]
            self.log.append(f"end {name}")
        except asyncio.CancelledError:
            self.log.append(f"cancelled {name}")
            raise


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_coroutines_run_one_at_a_time_and_hold_their_leases() -> None:
    async def main() -> None:
        context, calls, source = TestContext(), Calls(), Subject[Any]()
        out: list[Any] = []
        with entered(context):
            source.pipe(to_callback(calls)).subscribe(
                lambda batch: out.append(batch.rows[0]["n"]), on_completed=lambda: out.append("|")
            )
        for name in "abc":
            source.on_next(Batch([{"n": name}], leases=(Lease(context.flow, 10),)))
        source.on_completed()
        await settle()
        assert (calls.log, out, context.flow.in_flight) == (["begin a"], [], 30)
        calls.open["a"].set_result(None)
        await settle()
        assert (calls.log, out, context.flow.in_flight) == (["begin a", "end a", "begin b"], ["a"], 20)
        calls.open["b"].set_exception(ValueError("no"))
        await settle()
        assert (calls.log[3:], out) == (["begin c"], ["a", "b"])
        assert context.errors[0].reason == "ValueError: no"
        calls.open["c"].set_result(None)
        await settle()
        assert out == ["a", "b", "c", "|"]
        assert (context.flow.blocks, context.flow.in_flight) == (0, 0)

    asyncio.run(main())


def test_an_element_without_leases_holds_a_checkpoint_too() -> None:
    async def main() -> None:
        context, calls, source = TestContext(), Calls(), Subject[Any]()
        with entered(context):
            source.pipe(to_callback(calls)).subscribe()
        source.on_next(Batch([{"n": "a"}]))
        await settle()
        with pytest.raises(AssertionError, match="1 leases are still held"):
            context.checkpoint()
        calls.open["a"].set_result(None)
        await settle()
        context.checkpoint()

    asyncio.run(main())


def test_unsubscribing_cancels() -> None:
    async def main() -> None:
        context, calls, source = TestContext(), Calls(), Subject[Any]()
        with entered(context):
            subscription = source.pipe(to_callback(calls)).subscribe()
        source.on_next(Batch([{"n": "a"}], leases=(Lease(context.flow, 1),)))
        source.on_next(Batch([{"n": "b"}], leases=(Lease(context.flow, 1),)))
        await settle()
        subscription.dispose()
        await settle()
        assert calls.log == ["begin a", "cancelled a"]
        assert context.flow.blocks == 0

    asyncio.run(main())


def test_an_error_behind_it_fails_the_run() -> None:
    async def main() -> None:
        context, calls, source = TestContext(), Calls(), Subject[Any]()
        failed: list[Exception] = []
        context.fail = failed.append  # type: ignore[assignment]  # it need not raise here

        def raises(_: Any) -> None:
            msg = "behind"
            raise KeyError(msg)

        with entered(context):
            source.pipe(to_callback(calls)).subscribe(raises)
        source.on_next(Batch([{"n": "a"}]))
        await settle()
        calls.open["a"].set_result(None)
        await settle()
        assert [str(error) for error in failed] == ["'behind'"]

    asyncio.run(main())
