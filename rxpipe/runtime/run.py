"""A run on a loop and thread of its own, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from rxpipe.errors import RunError, RxpipeError
from rxpipe.graph import Graph
from rxpipe.log import logger
from rxpipe.parameters.units import seconds
from rxpipe.runtime.asyncrun import AsyncRun, not_drained
from rxpipe.runtime.savepoint import savepoint
from rxpipe.runtime.status import RunStatus
from rxpipe.table import Table

T = TypeVar("T")


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
        except BaseException as error:  # such as SystemExit, raised by a step: the thread ends, and says so
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
        except Exception as error:  # raised again where the block is entered
            self._ended.set_exception(error)
            self._begun.set_exception(error)
            return
        self._begun.set_result(None)
        failure: Exception | None = None
        try:
            await self._inner.wait()
        except Exception as error:  # raised again where the run is waited for
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
        except Exception as error:  # it is raised again, without the other thread's frames
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
            except BaseException as error:  # raised again in the caller's thread
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
            not_drained(timeout)
            self.stop()

    def stop(self) -> None:
        """End now; the next run goes on from the last checkpoint."""
        self._call(self._inner.engine.stop)

    def savepoint(self, to: Path | str) -> None:
        """Take a checkpoint, and copy it to a file that a run can go back to; see `AsyncRun.savepoint`."""
        if self._loop is None:
            msg = "the run has not begun: enter it with `with` first"
            raise RxpipeError(msg)
        if self._ended.done():
            savepoint(self._inner.state_file, to)
        else:
            asyncio.run_coroutine_threadsafe(self._inner.savepoint(to), self._loop).result()

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
        """The rows of the table that a stream ends in, as they are now; see `AsyncRun.table`."""
        return self._call(lambda: self._inner.rows(stream))

    def table(self, stream: str) -> Table:
        """The live table that a stream ends in, which may be read from any thread; see `AsyncRun.table`."""
        table = self._call(lambda: self._inner.table(stream))
        return Table(stream, table.key, lambda: self._call(table.rows), lambda: self._call(lambda: table.version))

    @property
    def metrics_url(self) -> str | None:
        """Where the run's metrics are, if it exposes them."""
        return self._inner.metrics_url

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread of the dataflow, where operators' objects (tables, say) may be read."""
        return self._call(function)


def _fresh(error: Exception) -> Exception:
    """The error without the traceback of where it was raised last: it is told to everyone who asks."""
    return error.with_traceback(None)
