"""A run on the loop that is running: an engine, its state file, its settings and its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from rxpipe.errors import RxpipeError, StateError, did_you_mean, nearest
from rxpipe.faults.letters import Selection
from rxpipe.graph import Graph
from rxpipe.language.edges import PASSING, fits, members, type_name
from rxpipe.language.plan import Plan
from rxpipe.log import logger
from rxpipe.parameters.units import Duration, nbytes, seconds
from rxpipe.runtime.adoption import adopt
from rxpipe.runtime.engine import Engine
from rxpipe.runtime.options import Options
from rxpipe.runtime.replay import Replay
from rxpipe.runtime.sample import SampleData
from rxpipe.runtime.savepoint import copy_state, go_back, savepoint
from rxpipe.runtime.settings import Settings, load_settings
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.status import RunStatus
from rxpipe.scheduling.loop import LoopScheduler
from rxpipe.table import Table
from rxpipe.tasks.store import Redo

if TYPE_CHECKING:
    from rxpipe.runtime.metrics import Exporter


NO_STATE = "the run must keep its state in a file; got none: name one with 'state'"


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
        sample: Run on the graph's sample data, made in a temporary folder that goes with the run; unless `once`, it
            keeps growing. No state is kept unless told where.
        redo: Which tasks that are over are due again: `changed`, those done by a graph that did something else with
            them; `failed`; or `all`.
        reset: Streams in which what does something else than when the state was saved starts afresh.
        from_savepoint: A savepoint that the state goes back to first; sinks that can go back to it, too.
        settings: Settings that win over the graph's and the environment's, see `rxpipe.runtime.settings`.
        replay: Dead letters to send through the graph again, each once; its sources emit nothing then, and the run ends
            behind them. It needs the state of the runs that kept them.

    Raises:
        GraphError: The graph or a setting has problems; all of them are in the message.
    """

    def __init__(
        self,
        graph: Graph | Plan,
        *,
        values: Mapping[str, Any] | None = None,
        state: Path | str | Literal[False] | None = None,
        once: bool = False,
        output: Any = None,
        duration: str | float | None = None,
        settings: Mapping[str, Any] | Settings | None = None,
        sample: bool = False,
        replay: Selection | None = None,
        redo: Redo | None = None,
        reset: Iterable[str] = (),
        from_savepoint: Path | str | None = None,
    ) -> None:
        self._sample = _sample_of(graph) if sample else None
        given = self._sample.values(values or {}) if self._sample else values or {}
        self.plan = graph if isinstance(graph, Plan) else graph.plan(**given)
        self.graph = self.plan.graph
        self.settings = (
            settings if isinstance(settings, Settings) else load_settings(self.plan.settings, settings or {})
        )
        if state is None:
            state = False if sample else self.settings.state
        self._state: Path | str | None = state or None
        self._replay = replay
        if replay is not None and self._state is None:
            msg = "replay: needs the state of the runs that kept the dead letters, which tells what was sent; got none"
            raise RxpipeError(msg)
        self._redo: Redo | None = redo
        self._reset = tuple(reset)
        self._from = from_savepoint
        if self._state is None and (self._reset or self._from is not None):
            raise StateError("reset, from_savepoint: " + NO_STATE)
        self._once = once
        self._output = output
        self._duration = None if duration is None else seconds(duration)
        self._ended: asyncio.Future[None] | None = None
        self._engine: Engine | None = None
        self._exporter: Exporter | None = None
        self._held = contextlib.ExitStack()

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
    def state_file(self) -> Path:
        """Where the run keeps its state.

        Raises:
            StateError: It keeps none.
        """
        if self._state is None:
            raise StateError("state: " + NO_STATE)
        return Path(self._state).expanduser()

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
        with contextlib.ExitStack() as stack:
            if self._sample is not None:
                stack.enter_context(self._sample)
            self._engine = self._made(loop)
            self._held = stack.pop_all()
        try:
            if self.settings.metrics is not None:
                from rxpipe.runtime.metrics import Exporter  # only where metrics are asked for

                self._exporter = Exporter(self._engine, self.settings.metrics)
            self._engine.begin()
        except BaseException:
            self._engine.stop()
            await self._close()
            raise
        if self._engine.failure is not None:
            await self._close()
            raise self._engine.failure
        if self._sample is not None and not self._once:
            self._sample.play()
        return self

    def _made(self, loop: asyncio.AbstractEventLoop) -> Engine:
        state = StateFile(self.state_file) if self._state else None
        try:
            if state is not None:
                if self._from is not None:
                    go_back(state, self._from, self.plan, self._reset)
                adopt(state, self.plan, self._reset)
            options = Options(
                in_flight=nbytes(self.settings.in_flight),
                checkpoint=seconds(self.settings.checkpoint),
                duration=self._duration,
                once=self._once,
                output=self._output,
                state=state,
                redo=self._redo,
                replay=None if self._replay is None else Replay(self._replay),
            )
            return Engine(self.plan, LoopScheduler(loop), time.time, _poster(loop), self._finished, options)
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
        """Give back what the run held."""
        try:
            await self._join()
        finally:
            self._held.close()

    async def _join(self) -> None:
        """Wait for what other threads are still doing for the run."""
        exporter, self._exporter = self._exporter, None
        if exporter is None and not self.engine.threads.any:
            return
        loop = asyncio.get_running_loop()
        closed = loop.create_future()

        def tell() -> None:
            if not closed.done():
                closed.set_result(None)

        def close() -> None:
            if exporter is not None:
                exporter.close()
            self.engine.threads.join()
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
        await asyncio.shield(self._end())

    def _end(self) -> asyncio.Future[None]:
        if self._ended is None:
            msg = "the run has not begun: enter it with `async with` first"
            raise RxpipeError(msg)
        return self._ended

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
            not_drained(timeout)
            self.engine.stop()

    def stop(self) -> None:
        """End now; the next run goes on from the last checkpoint."""
        self.engine.stop()

    async def savepoint(self, to: Path | str) -> None:
        """Take a checkpoint, and copy it to a file that a run can go back to; see `rxpipe.savepoint`.

        Raises:
            StateError: The file is there already, the checkpoint failed, or the run keeps no state.
        """
        if self.engine.over():
            savepoint(self.state_file, to)
            return
        state = self.state_file
        taken = asyncio.get_running_loop().create_future()

        def copy() -> None:
            if self.engine.checkpoints.failure is not None:
                msg = f"savepoint: the checkpoint must be taken; got {self.engine.checkpoints.failure}"
                taken.set_exception(StateError(msg))
                return
            try:
                copy_state(state, to)
            except StateError as error:
                taken.set_exception(error)
            else:
                taken.set_result(None)

        self.engine.checkpoints.take(copy)
        await asyncio.wait({taken, self._end()}, return_when=asyncio.FIRST_COMPLETED)
        if not taken.done():
            msg = "savepoint: the run must go on until the checkpoint is taken; it ended before that"
            raise StateError(msg)
        taken.result()

    def pause(self) -> None:
        """Hold the sources; what was read comes through."""
        self.engine.pause()

    def resume(self) -> None:
        """Let the sources go on."""
        self.engine.resume()

    def status(self) -> RunStatus:
        """What the run is doing, or did."""
        return self.engine.status()

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """The rows of the table that a stream ends in, as they are now; see `table`."""
        return self.table(stream).dicts()

    def table(self, stream: str) -> Table:
        """The live table that a stream ends in; it has no rows while none has come.

        Raises:
            RxpipeError: There is no such stream, the nearest name is suggested; or it does not end in a table.
        """
        if stream not in self.plan.streams:
            guess = did_you_mean(nearest(stream, self.plan.streams))
            msg = f"table: must name a stream of the graph; got {stream!r}{guess}"
            raise RxpipeError(msg)
        emits = self.plan.streams[stream].steps[-1].emits
        if not any(kind not in PASSING and fits(kind, Table) for kind in members(emits)):
            msg = f"table: stream {stream!r} must end in a table; it gives {type_name(emits)}: add `aggregate` or `top`"
            raise RxpipeError(msg)
        tables = self.engine.tables
        empty = Table(stream, (), list, lambda: 0)
        return Table(
            stream,
            tables.get(stream, empty).key,
            lambda: tables.get(stream, empty).rows(),
            lambda: tables.get(stream, empty).version,
        )


def _poster(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], None]:
    """Hands a call over to the loop, from any thread; when the loop is closed, the run is over and nobody wants it."""

    def post(call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return post


def not_drained(timeout: Duration | None) -> None:
    """Tell that a drain took too long."""
    logger.warning("the run did not drain in {}: stopped; the next run goes on from the last checkpoint", timeout)


def _sample_of(graph: Graph | Plan) -> SampleData:
    if isinstance(graph, Plan):
        msg = "sample: needs the graph, whose parameter it sets; got its plan"
        raise RxpipeError(msg)
    return SampleData(graph)
