"""`LoopScheduler`: timers on the running loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.scheduling.loop import LoopScheduler

DEADLINE = 10


def on_loop(main: Callable[[LoopScheduler], Any]) -> None:
    """Run a coroutine with a scheduler on its loop."""

    async def run() -> None:
        async with asyncio.timeout(DEADLINE):
            await main(LoopScheduler(asyncio.get_running_loop()))

    asyncio.run(run())


@pytest.mark.parametrize(
    "schedule",
    [
        lambda on, action: on.schedule(action, 7),
        lambda on, action: on.schedule_relative(0, action, 7),
        lambda on, action: on.schedule_relative(timedelta(milliseconds=1), action, 7),
        lambda on, action: on.schedule_absolute(on.now + timedelta(milliseconds=1), action, 7),
    ],
)
def test_an_action_is_done_once_with_its_state_and_never_at_once(schedule: Any) -> None:
    async def main(scheduler: LoopScheduler) -> None:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        schedule(scheduler, lambda given, state: done.set_result((given, state)))
        assert not done.done()
        assert await done == (scheduler, 7)

    on_loop(main)


def test_actions_of_one_turn_keep_their_order() -> None:
    async def main(scheduler: LoopScheduler) -> None:
        done: list[int | None] = []
        for number in range(3):
            scheduler.schedule(lambda _, state: done.append(state), number)
        await asyncio.sleep(0)
        assert done == [0, 1, 2]

    on_loop(main)


def test_what_is_disposed_is_not_done() -> None:
    async def main(scheduler: LoopScheduler) -> None:
        done: list[str] = []
        for timer in (
            scheduler.schedule(lambda *_: done.append("soon")),
            scheduler.schedule_relative(0.001, lambda *_: done.append("later")),
        ):
            timer.dispose()
            timer.dispose()
        last = asyncio.Event()
        scheduler.schedule_relative(0.002, lambda *_: last.set())
        await last.wait()
        assert done == []

    on_loop(main)


def test_disposing_reaches_what_the_action_returned() -> None:
    async def main(scheduler: LoopScheduler) -> None:
        stopped: list[str] = []
        timer = scheduler.schedule(lambda *_: Disposable(lambda: stopped.append("behind")))
        await asyncio.sleep(0)
        assert stopped == []
        timer.dispose()
        assert stopped == ["behind"]

        def itself(_: SchedulerBase, __: object = None) -> DisposableBase:
            own.dispose()
            return Disposable(lambda: stopped.append("at once"))

        own = scheduler.schedule(itself)
        await asyncio.sleep(0)
        assert stopped == ["behind", "at once"]

    on_loop(main)
