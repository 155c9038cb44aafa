"""Batches and blocks of lines on their way through the workers of `parallel`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.elements import Batch, ErrorRecord, LineDelta, error_record
from rxpipe.operators.flow._call import Call, leases_of, submitted
from rxpipe.operators.flow._calls import Calls
from rxpipe.operators.flow._worker import BLOCK
from rxpipe.operators.flow._workers import Made, WorkerError, Workers
from rxpipe.unread import Unread, UnreadableError

AHEAD = 2
"""How many blocks are under way for each worker."""

LONGEST, LARGEST = 0.03, 128 * 1024
"""Seconds of a worker's time, and bytes of its answer, for which lines are left unread at once: the more, the less it
takes to hand them over; and the longer a checkpoint, and a timer, wait."""

SHARE = 2
"""How many times what is under way must fit into what may be in flight: as much again is done, and waits."""


class Blocks(Calls):
    """A call for each batch or block of lines.

    Args:
        workers: Who works on them.
        count: How many they are.
        context, scheduler, observer, timeout: See `Calls`.
    """

    def __init__(
        self,
        workers: Workers,
        count: int,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        timeout: float | None,
    ) -> None:
        super().__init__(context, scheduler, observer, count * AHEAD, timeout, room=count)
        self._workers = workers
        self._most_unread = context.flow.limit // (SHARE * count * AHEAD)
        self._unread = 0
        context.describe("workers", lambda: len(workers.all))

    def close(self) -> None:
        """End the workers too."""
        super().close()
        self._workers.close()

    def unread(self) -> int:
        """How many bytes of lines to leave unread at once."""
        return min(self._most_unread, self._unread)

    def _made_of(self, element: Any) -> list[Call]:
        return [Call(element)] if isinstance(element, Batch | LineDelta | Unread) else []

    def _begun(self, call: Call) -> Future[Made]:
        return submitted(self._context.executor(), self._made, call.element)

    def _made(self, element: Any) -> Made:
        """What the workers make of an element; on a thread."""
        try:
            return self._workers.run(element)
        except (UnreadableError, WorkerError) as error:
            if not isinstance(element, Unread):
                raise
            return self._made_singly(element, error)

    def _made_singly(self, element: Unread, error: Exception) -> Made:
        """What they make of lines that are not where they were left, or that a worker died of: read here, in blocks."""
        try:
            blocks = [block._replace(lease=element.lease) for block in element.read(BLOCK)]
        except UnreadableError as unreadable:
            return Made([], [self._error(element, str(unreadable))])
        if isinstance(error, WorkerError) and len(blocks) == 1:
            raise error
        made = Made([], [])
        for block in blocks:
            try:
                of_it = self._workers.run(block)
            except WorkerError as failed:
                of_it = Made([], [self._error(block, f"{type(failed).__name__}: {failed}")])
            made.elements.extend(of_it.elements)
            made.errors.extend(of_it.errors)
        return made

    def _error(self, lines: LineDelta | Unread, reason: str) -> ErrorRecord:
        return error_record(self._context.name, reason, path=lines.path, start=lines.start, end=lines.end)

    def _results(self, call: Call, result: Made) -> list[Any]:
        element = call.element
        if result.seconds and isinstance(element, LineDelta | Unread):
            size = element.end - element.start
            self._unread = int(size / max(result.seconds / LONGEST, result.nbytes / LARGEST))
        for error in result.errors:
            self._context.refuse(error, leases_of(element))
        return result.elements

    def _elements(self, calls: list[Call]) -> list[Any]:
        return [element for call in calls for element in call.made]

    def _reject(self, call: Call, error: BaseException) -> None:
        if isinstance(error, WorkerError | TimeoutError):
            super()._reject(call, error)
        else:
            error.__traceback__ = None
            self._context.fail(error if isinstance(error, Exception) else RuntimeError(str(error)))
