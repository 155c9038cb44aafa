"""Checkpoints: hold the sources, flush the buffers, wait until nothing is leased, save in one transaction."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rxpipe.context import Change, NoState, Saved, StateKind
from rxpipe.errors import StateError
from rxpipe.lease import Flow
from rxpipe.log import logger
from rxpipe.runtime.meter import blame
from rxpipe.transient import transient

if TYPE_CHECKING:
    from rxpipe.runtime.state import StateFile

FIRST_LOOK, LONGEST_LOOK = 0.01, 0.25
"""Seconds between two looks at what a checkpoint waits for."""

COLLECT_AFTER, COLLECT_EVERY = 0.1, 5.0
"""Seconds of waiting after which the garbage collector is asked for leases in reference cycles."""


class Checkpoints:
    """Takes the checkpoints of one run.

    Args:
        flow: Tells what is leased, and holds the sources.
        state: The state file, or None for a run that keeps no state.
        later: Schedules a call after some seconds.
        flush: Has every step emit what it holds, those that others read first.
        clock: Seconds since the epoch.

    Attributes:
        taken: How many checkpoints were taken.
        seconds: How long the last one held the sources.
        rows: How many state rows the last one wrote.
        failure: Why the last one failed, or None.
        since: When the one under way began, or None.
    """

    def __init__(
        self,
        flow: Flow,
        state: StateFile | None,
        later: Callable[[float, Callable[[], None]], object],
        flush: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._flow = flow
        self._state = state
        self._later = later
        self._flush = flush
        self._clock = clock
        self._steps: dict[str, Callable[[], Iterable[Change]]] = {}
        self._unsaved: dict[str, dict[tuple[bytes, str], bytes | None]] = {}
        self._then: list[Callable[[], None]] = []
        self._closed = False
        self.taken = 0
        self.seconds = 0.0
        self.rows = 0
        self.failure: str | None = None
        self.since: float | None = None

    def register(self, step: str, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str) -> Saved:
        """Let a step take part; returns what was saved of it.

        Raises:
            StateError: The step registered twice.
        """
        if step in self._steps:
            msg = (
                f"{step}: a step with state must be subscribed once; the step after it subscribed it twice. Make the "
                f"steps up to here a stream of their own, which several can read"
            )
            raise StateError(msg)
        self._steps[step] = changes
        if self._state is None:
            return NoState()
        return self._state.saved(step, kind, description)

    def take(self, then: Callable[[], None] | None = None) -> None:
        """Take a checkpoint as soon as nothing is leased, then call `then`, also if it failed; one under way serves."""
        if self._closed:
            return
        if then is not None:
            self._then.append(then)
        if self.since is not None:
            return
        self.since = self._clock()
        self._flow.hold()
        self._flush()
        if self._flow.blocks:
            self._look(FIRST_LOOK, 0.0, COLLECT_AFTER)
        self._flow.when_idle(self._commit)

    def close(self) -> None:
        """The run is over: save nothing any more."""
        self._closed = True
        self._steps.clear()
        self._then.clear()

    def _look(self, wait: float, waited: float, collect: float) -> None:
        """While leases are held, flush again: what a thread gave back meanwhile may have been buffered behind it.

        A lease may also be kept by a reference cycle, such as an exception with its frames: find it.
        """

        def look() -> None:
            if self.since is None or not self._flow.blocks or self._closed:
                return
            self._flush()
            total = waited + wait
            if total >= collect and self._flow.blocks:
                gc.collect()
            self._look(min(wait * 2, LONGEST_LOOK), total, collect + COLLECT_EVERY if total >= collect else collect)

        self._later(wait, look)

    def _commit(self) -> None:
        if self._closed:
            return
        began = self.since
        try:
            self._save()
        except Exception as error:
            if not transient(error):
                raise
            if self.failure is None:
                logger.warning("checkpoint failed, what it was to save is kept for the next one: {}", error)
            self.failure = f"{type(error).__name__}: {error}"
        else:
            if self.failure is not None:
                logger.info("checkpoint taken, after it had failed")
            self.failure = None
        self.seconds = max(0.0, self._clock() - (began or 0.0))
        self.since = None
        self._flow.release()
        then, self._then = self._then, []
        for call in then:
            call()

    def _save(self) -> None:
        """Collect the changes of all steps (sinks make their data durable now), then write them together.

        What a failed write could not save is kept and written with the next one.
        """
        collected: list[tuple[str, list[Change]]] = []
        try:
            for name, changes in self._steps.items():
                changed: list[Change] = []
                collected.append((name, changed))
                try:
                    for row in changes():
                        changed.append(row)  # noqa: PERF402  # what came before an error must not be lost
                except Exception as error:
                    blame(error, name)
                    raise
            if self._unsaved:
                self._keep(collected)
                collected = [
                    (name, [(*at, value) for at, value in rows.items()]) for name, rows in self._unsaved.items()
                ]
            if self._state is not None:
                self.rows = self._state.commit(collected)
                self.taken += 1
        except Exception as error:
            if transient(error):
                self._keep(collected)
            raise
        self._unsaved = {}

    def _keep(self, collected: list[tuple[str, list[Change]]]) -> None:
        """Add changes to those not saved; the last value of a row is the one that counts."""
        if self._state is not None:
            for name, changed in collected:
                self._unsaved.setdefault(name, {}).update(((key, part), value) for key, part, value in changed)
