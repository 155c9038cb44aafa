"""The life of a run: an engine on the loop that is running (`AsyncRun`), or on a loop and thread of its own (`Run`)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from loguru import logger
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxpipe.engine import Engine, Options
from rxpipe.errors import RunError, RxpipeError
from rxpipe.graph import Graph
from rxpipe.settings import Settings, load_settings
from rxpipe.state import StateFile
from rxpipe.status import RunStatus
from rxpipe.units import nbytes, seconds

T = TypeVar("T")


class AsyncRun:
    """A run on the loop that is running: `async with graph.start() as run: …`.

    Leaving the block drains the run. All methods must be called on the loop's thread.

    Args:
        graph: What to run.
        values: Values of the graph's declared parameters.
        state: The state file; None keeps no state.
        once: Whether sources end when they have emitted what is there.
        output: What sinks that print are told, see `rxpipe.output`; None keeps them silent.
        duration: Drain after this time.
        settings: Settings that win over the graph's and the environment's, see `rxpipe.settings`.

    Raises:
        GraphError: The graph has problems; all of them are in the message.
        StateError: The state file is in use or does not fit.
    """

    def __init__(  # noqa: PLR0913  # a run has this many independent choices, each with a default
        self,
        graph: Graph,
        *,
        values: Mapping[str, Any] | None = None,
        state: Path | str | None = None,
        once: bool = False,
        output: Any = None,
        duration: str | float | None = None,
        settings: Mapping[str, Any] | Settings | None = None,
    ) -> None:
        self.graph = graph
        self.plan = graph.plan(**(values or {}))
        self.settings = settings if isinstance(settings, Settings) else load_settings(graph.settings, settings or {})
        self._state = state
        self._once = once
        self._output = output
        self._duration = None if duration is None else seconds(duration)
        self._ended: asyncio.Future[None] | None = None
        self._engine: Engine | None = None
        self._exporter: Any = None

    @property
    def engine(self) -> Engine:
        """The engine of the run.

        Raises:
            RxpipeError: The run has not begun.
        """
        if self._engine is None:
            msg = "the run has not begun: enter it with `async with` first"
            raise RxpipeError(msg)
        return self._engine

    async def __aenter__(self) -> Self:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        state = None if self._state is None else StateFile(Path(self._state))
        if state is not None:
            try:
                state.adopt(self.graph.name, self.plan.fingerprint)
            except BaseException:
                state.close()
                raise
        options = Options(
            in_flight=nbytes(self.settings.in_flight),
            checkpoint=seconds(self.settings.checkpoint),
            once=self._once,
            output=self._output,
            state=state,
        )
        self._engine = Engine(
            self.plan, AsyncIOScheduler(loop), time.time, loop.call_soon_threadsafe, self._finished, options
        )
        if self.settings.metrics is not None:
            from rxpipe.metrics import Exporter  # noqa: PLC0415  # only where metrics are asked for

            self._exporter = Exporter(self._engine, self.settings.metrics)
        self._engine.begin()
        if self._duration is not None:
            loop.call_later(self._duration, self._engine.drain)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain; or, if the block raised, stop."""
        if kind is not None:
            self.engine.stop()
            return
        await self.drain()

    def _finished(self, error: Exception | None) -> None:
        if self._exporter is not None:
            self._exporter.close()
        if self._ended is None or self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    async def wait(self) -> None:
        """Wait until the run has ended.

        Raises:
            RunError: A step failed.
        """
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def drain(self, timeout: str | float | None = None) -> None:  # noqa: ASYNC109  # a person's unit, `2s`
        """Stop the sources, let everything come through, take a last checkpoint, end.

        Args:
            timeout: After this time the run is stopped as it is; None waits as long as it takes.

        Raises:
            RunError: A step failed.
        """
        self.engine.drain()
        try:
            await asyncio.wait_for(self.wait(), None if timeout is None else seconds(timeout))
        except TimeoutError:
            logger.warning("the run did not drain in {}: stopped; the next run goes on from the last checkpoint", timeout)
            self.engine.stop()

    def stop(self) -> None:
        """End now; the next run goes on from the last checkpoint."""
        self.engine.stop()

    def pause(self) -> None:
        """Hold the sources."""
        self.engine.pause()

    def resume(self) -> None:
        """Let the sources go on."""
        self.engine.resume()

    def status(self) -> RunStatus:
        """What the run is doing."""
        return self.engine.status()


class Run:
    """A run on a thread of its own: `with graph.run() as run: …`; works where a loop is running already, as in notebooks.

    Takes the arguments of `AsyncRun`. Leaving the block drains the run. Methods may be called from any thread.
    """

    def __init__(self, graph: Graph, **options: Any) -> None:
        self._inner = AsyncRun(graph, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name=f"rxpipe-{graph.name}", daemon=True)

    def _main(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._inner.__aenter__()
        except BaseException as error:  # noqa: BLE001  # raised again where the block is entered
            self._begun.set_exception(error)
            return
        self._begun.set_result(None)
        try:
            await self._inner.wait()
        except Exception as error:  # noqa: BLE001  # raised again where the run is waited for
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        self._begun.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain; or, if the block raised, stop."""
        if kind is None:
            self.drain()
        else:
            self.stop()
        self._thread.join()

    def _call(self, function: Callable[[], T]) -> T:
        """Call on the loop's thread; when the run has ended and its loop with it, here."""
        loop = self._loop
        if loop is None:
            msg = "the run has not begun: enter it with `with` first"
            raise RxpipeError(msg)
        if self._ended.done() or threading.current_thread() is self._thread:
            return function()
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
                result.set_exception(error)

        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop closed meanwhile
            return function()
        while True:
            try:
                return result.result(timeout=1)
            except FutureTimeout:
                if result.done():
                    raise
                if not self._thread.is_alive():
                    return function()

    def wait(self, timeout: str | float | None = None) -> None:
        """Wait until the run has ended.

        Raises:
            RunError: A step failed.
            TimeoutError: It has not ended in time.
        """
        try:
            self._ended.result(None if timeout is None else seconds(timeout))
        except RunError as error:
            raise error.with_traceback(None) from error.__cause__

    def drain(self, timeout: str | float | None = None) -> None:
        """Stop the sources, let everything come through, take a last checkpoint, end; see `AsyncRun.drain`."""
        self._call(self._inner.engine.drain)
        try:
            self.wait(timeout)
        except TimeoutError:
            self.stop()

    def stop(self) -> None:
        """End now; the next run goes on from the last checkpoint."""
        self._call(self._inner.engine.stop)

    def pause(self) -> None:
        """Hold the sources; what was read comes through."""
        self._call(self._inner.engine.pause)

    def resume(self) -> None:
        """Let the sources go on."""
        self._call(self._inner.engine.resume)

    def status(self) -> RunStatus:
        """What the run is doing."""
        return self._call(self._inner.engine.status)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread of the dataflow, where operators' objects (tables, say) may be read."""
        return self._call(function)
