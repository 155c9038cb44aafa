"""The life of a run: an engine on the loop that is running (`AsyncRun`), or on a loop and thread of its own (`Run`)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from loguru import logger
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxpipe.runtime.engine import Engine, Options
from rxpipe.errors import RunError, RxpipeError, did_you_mean, nearest
from rxpipe.graph import Graph
from rxpipe.language.plan import Plan
from rxpipe.runtime.settings import Settings, load_settings
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.status import RunStatus
from rxpipe.units import nbytes, seconds

if TYPE_CHECKING:
    from rxpipe.runtime.metrics import Exporter

T = TypeVar("T")


class AsyncRun:
    """A run on the loop that is running: `async with graph.start() as run: …`.

    Leaving the block drains the run; an exception in the block stops it. All methods must be called on the loop's
    thread.

    Args:
        graph: What to run; or its plan, already made with the values of its parameters.
        values: Values of the graph's declared parameters.
        state: The state file; None takes that of the settings, which is none unless told; False keeps no state.
        once: Whether sources end when they have emitted what is there.
        output: What sinks that print are told, see `rxpipe.runtime.output`; None keeps them silent.
        duration: Drain after this time.
        settings: Settings that win over the graph's and the environment's, see `rxpipe.runtime.settings`.

    Raises:
        GraphError: The graph or a setting has problems; all of them are in the message.
    """

    def __init__(  # noqa: PLR0913  # a run has this many independent choices, each with a default
        self,
        graph: Graph | Plan,
        *,
        values: Mapping[str, Any] | None = None,
        state: Path | str | Literal[False] | None = None,
        once: bool = False,
        output: Any = None,
        duration: str | float | None = None,
        settings: Mapping[str, Any] | Settings | None = None,
    ) -> None:
        self.plan = graph if isinstance(graph, Plan) else graph.plan(**(values or {}))
        self.graph = self.plan.graph
        self.settings = (
            settings if isinstance(settings, Settings) else load_settings(self.plan.settings, settings or {})
        )
        self._state = self.settings.state if state is None else state
        self._once = once
        self._output = output
        self._duration = None if duration is None else seconds(duration)
        self._ended: asyncio.Future[None] | None = None
        self._engine: Engine | None = None
        self._exporter: Exporter | None = None

    @property
    def engine(self) -> Engine:
        """The engine of the run.

        Raises:
            RxpipeError: The run has not begun.
        """
        if self._engine is None:
            msg = "the run has not begun: enter it with `with` or `async with` first"
            raise RxpipeError(msg)
        return self._engine

    @property
    def metrics_url(self) -> str | None:
        """Where the run's metrics are, if it exposes them."""
        return None if self._exporter is None else self._exporter.url

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            StateError: The state file is in use or does not fit.
            RunError: A step failed at once.
        """
        if self._ended is not None:
            msg = "a run can be entered once: make another with graph.run() or graph.start()"
            raise RxpipeError(msg)
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._engine = self._made(loop)
        try:
            if self.settings.metrics is not None:
                from rxpipe.runtime.metrics import Exporter  # noqa: PLC0415  # only where metrics are asked for

                self._exporter = Exporter(self._engine, self.settings.metrics)
            self._engine.begin()
        except BaseException:
            self._engine.stop()
            await self._close()
            raise
        if self._engine.failure is not None:
            await self._close()
            raise self._engine.failure
        return self

    def _made(self, loop: asyncio.AbstractEventLoop) -> Engine:
        state = StateFile(Path(self._state).expanduser()) if self._state else None
        try:
            if state is not None:
                state.adopt(self.graph.name, self.plan.fingerprint)
            options = Options(
                in_flight=nbytes(self.settings.in_flight),
                checkpoint=seconds(self.settings.checkpoint),
                duration=self._duration,
                once=self._once,
                output=self._output,
                state=state,
            )
            return Engine(self.plan, AsyncIOScheduler(loop), time.time, _poster(loop), self._finished, options)
        except BaseException:
            if state is not None:
                state.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain; or, if the block raised, stop."""
        try:
            if kind is None:
                await self.drain()
        finally:
            failure = self.engine.failure
            self.engine.stop()
            if kind is not None and failure is not None and error is not failure:
                logger.error("the run had failed, besides: {}", failure)
            await self._close()

    async def _close(self) -> None:
        """Wait for what other threads are still doing for the run."""
        exporter, self._exporter = self._exporter, None
        if exporter is None and not self.engine.threaded:
            return
        loop = asyncio.get_running_loop()
        closed = loop.create_future()

        def tell() -> None:
            if not closed.done():
                closed.set_result(None)

        def close() -> None:
            if exporter is not None:
                exporter.close()
            self.engine.join()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(tell)

        thread = threading.Thread(target=close, name="rxpipe-close", daemon=True)
        thread.start()
        await closed
        thread.join()

    def _finished(self, error: Exception | None) -> None:
        if self._ended is None or self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
            self._ended.exception()  # who leaves the block is told, so nobody need be told that nobody asked

    async def wait(self) -> None:
        """Wait until the run has ended.

        Raises:
            RunError: A step failed.
        """
        if self._ended is None:
            raise RxpipeError(self._not_begun())
        await asyncio.shield(self._ended)

    def _not_begun(self) -> str:
        return "the run has not begun: enter it with `async with` first"

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
            _not_drained(timeout)
            self.engine.stop()

    def stop(self) -> None:
        """End now; the next run goes on from the last checkpoint."""
        self.engine.stop()

    def pause(self) -> None:
        """Hold the sources; what was read comes through."""
        self.engine.pause()

    def resume(self) -> None:
        """Let the sources go on."""
        self.engine.resume()

    def status(self) -> RunStatus:
        """What the run is doing, or did."""
        return self.engine.status()


class Run:
    """A run on a thread of its own: `with graph.run() as run: …`; works where a loop is running, as in notebooks.

    Takes the arguments of `AsyncRun`. Leaving the block drains the run; an exception in the block stops it. Methods
    may be called from any thread.
    """

    def __init__(self, graph: Graph, **options: Any) -> None:
        self._inner = AsyncRun(graph, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name=f"rxpipe-{graph.name}", daemon=True)

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001  # such as SystemExit, raised by a step: the thread ends, and says so
            msg = f"the run's thread ended: {type(error).__name__}: {error}"
            made = RunError(msg)
            made.__cause__ = error
            with contextlib.suppress(RxpipeError):
                self._inner.engine.stop()
            for future in (self._begun, self._ended):
                if not future.done():
                    future.set_exception(made)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._inner.__aenter__()
        except Exception as error:  # noqa: BLE001  # raised again where the block is entered
            self._ended.set_exception(error)
            self._begun.set_exception(error)
            return
        self._begun.set_result(None)
        failure: Exception | None = None
        try:
            await self._inner.wait()
        except Exception as error:  # noqa: BLE001  # raised again where the run is waited for
            failure = error
        await self._inner._close()  # noqa: SLF001  # the two are one thing
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            StateError: The state file is in use or does not fit.
            RunError: A step failed at once.
        """
        if self._thread.ident is not None:
            msg = "a run can be entered once: make another with graph.run()"
            raise RxpipeError(msg)
        self._thread.start()
        try:
            self._begun.result()
        except Exception as error:  # noqa: BLE001  # it is raised again, without the other thread's frames
            self._thread.join()
            raise _fresh(error) from error.__cause__
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain; or, if the block raised, stop."""
        try:
            if kind is None:
                self.drain()
        finally:
            failure = self._inner.engine.failure
            self.stop()
            self._thread.join()
            if kind is not None and failure is not None and error is not failure:
                logger.error("the run had failed, besides: {}", failure)

    def _call(self, function: Callable[[], T]) -> T:  # noqa: C901  # the loop may end at any moment between two lines
        """Call on the loop's thread; when the run has ended and its loop with it, here."""
        loop = self._loop
        if loop is None:
            msg = "the run has not begun: enter it with `with` first"
            raise RxpipeError(msg)
        if self._ended.done() or threading.current_thread() is self._thread:
            return function()
        result: Future[T] = Future()

        def call() -> None:
            if not result.set_running_or_notify_cancel():
                return
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
                return result.result(timeout=0.1)
            except FutureTimeout:
                if result.done():
                    return result.result()
                if not self._thread.is_alive() and result.cancel():
                    return function()

    def wait(self, timeout: str | float | None = None) -> None:
        """Wait until the run has ended.

        Raises:
            RunError: A step failed.
            TimeoutError: It has not ended in time.
        """
        if self._loop is None:
            msg = "the run has not begun: enter it with `with` first"
            raise RxpipeError(msg)
        try:
            self._ended.result(None if timeout is None else seconds(timeout))
        except RxpipeError as error:
            raise _fresh(error) from error.__cause__

    def drain(self, timeout: str | float | None = None) -> None:
        """Stop the sources, let everything come through, take a last checkpoint, end; see `AsyncRun.drain`."""
        self._call(self._inner.engine.drain)
        try:
            self.wait(timeout)
        except TimeoutError:
            _not_drained(timeout)
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
        """What the run is doing, or did."""
        return self._call(self._inner.engine.status)

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """The rows of the table that a stream ends in, as they are now; see `AsyncRun.rows`."""
        return self._call(lambda: self._inner.rows(stream))

    @property
    def metrics_url(self) -> str | None:
        """Where the run's metrics are, if it exposes them."""
        return self._inner.metrics_url

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread of the dataflow, where operators' objects (tables, say) may be read."""
        return self._call(function)


def _poster(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], None]:
    """Hands a call over to the loop, from any thread; when the loop is closed, the run is over and nobody wants it."""

    def post(call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return post


def _fresh(error: Exception) -> Exception:
    """The error without the traceback of where it was raised last: it is told to everyone who asks."""
    return error.with_traceback(None)


def _not_drained(timeout: str | float | None) -> None:
    logger.warning("the run did not drain in {}: stopped; the next run goes on from the last checkpoint", timeout)
