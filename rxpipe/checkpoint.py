"""Checkpoints: hold the sources, flush the buffers, wait until nothing is leased, save what changed in one transaction."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from loguru import logger

from rxpipe.context import Change, NoState, Saved, StateKind
from rxpipe.errors import StateError
from rxpipe.lease import Flow

if TYPE_CHECKING:
    from rxpipe.state import StateFile


class Checkpoints:
    """Takes the checkpoints of one run.

    Args:
        flow: Tells what is leased, and holds the sources.
        state: The state file, or None for a run that keeps no state.
        later: Schedules a call after some seconds.

    Attributes:
        flushes: Called first; each emits at once whatever holds a lease.
        taken: How many checkpoints were taken.
        seconds: How long the last one held the sources.
        rows: How many state rows the last one wrote.
        failure: Why the last one failed, or None.
    """

    def __init__(self, flow: Flow, state: StateFile | None, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._flow = flow
        self._state = state
        self._later = later
        self._steps: dict[str, Callable[[], Iterable[Change]]] = {}
        self._pending: list[tuple[str, list[Change]]] = []
        self._then: list[Callable[[], None]] = []
        self._running = False
        self.flushes: list[Callable[[], None]] = []
        self.taken = 0
        self.seconds = 0.0
        self.rows = 0
        self.failure: str | None = None

    def register(self, step: str, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str) -> Saved:
        """Let a step take part; returns what was saved of it.

        Raises:
            StateError: The step registered twice.
        """
        if step in self._steps:
            msg = f"{step}: a step may register its state once; it was subscribed twice"
            raise StateError(msg)
        self._steps[step] = changes
        if self._state is None:
            return NoState()
        return self._state.saved(step, kind, description)

    def take(self, then: Callable[[], None] | None = None) -> None:
        """Take a checkpoint as soon as nothing is leased, then call `then`; one that is under way serves."""
        if then is not None:
            self._then.append(then)
        if self._running:
            return
        self._running = True
        self._flow.hold()
        started = perf_counter()
        for flush in self.flushes:
            flush()
        if self._flow.blocks:
            self._later(0.1, self._collect)
        self._flow.when_idle(lambda: self._commit(started))

    def _collect(self) -> None:
        """A lease may be kept by a reference cycle, such as an exception with its frames: find it."""
        if self._running and self._flow.blocks:
            gc.collect()

    def _commit(self, started: float) -> None:
        try:
            self._save()
            self.failure = None
        except Exception as error:  # noqa: BLE001  # a full disk or a locked file: the next checkpoint tries again
            if self.failure is None:
                logger.warning("checkpoint failed, the next one tries again: {}", error)
            self.failure = str(error)
        finally:
            self._running = False
            self.seconds = perf_counter() - started
            self._flow.release()
            then, self._then = self._then, []
            for call in then:
                call()

    def _save(self) -> None:
        """Collect the changes of all steps (sinks make their data durable now), then write them together.

        What a failed write could not save is kept and written with the next one.
        """
        if self._state is None:
            for step in self._steps.values():
                for _ in step():
                    pass
            return
        for name, changes in self._steps.items():
            if changed := list(changes()):
                self._pending.append((name, changed))
        self.rows = self._state.commit(self._pending)
        self._pending = []
        self.taken += 1
