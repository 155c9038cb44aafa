"""Sources that ask for pieces on a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from rxpipe.context import Context
from rxpipe.operators.files._rounds import Rounds
from rxpipe.scheduling.loop import LoopScheduler


class AtOnce(Executor):
    """A thread that is so fast that it has fetched before anybody looks."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **given: Any) -> Future[Any]:
        made: Future[Any] = Future()
        made.set_result(call(*args, **given))
        return made


class Fast(Context):
    def executor(self) -> Executor:
        return AtOnce()


def test_a_timer_does_not_wait_for_two_pieces() -> None:
    done: list[str] = []
    left = iter("abc")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def emit(piece: str) -> None:
            done.append(piece)
            if piece == "a":
                loop.call_later(0.001, done.append, "timer")
                until = time.monotonic() + 0.002
                while time.monotonic() < until:
                    pass  # at work

        rounds = Rounds(Fast(), LoopScheduler(loop), lambda: next(left, None), emit, lambda _: ended.set_result(None))
        with rounds.start():
            await ended

    asyncio.run(main())
    assert done == ["a", "timer", "b", "c"]
