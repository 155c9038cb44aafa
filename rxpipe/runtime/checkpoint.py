"""Checkpoints: hold the sources, flush the buffers, wait until nothing is leased, cut; save that in one transaction."""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from rxpipe.context import Change, Cut, NoState, Saved, StateKind
from rxpipe.errors import StateError
from rxpipe.faults.transient import transient
from rxpipe.lease import Flow
from rxpipe.log import logger
from rxpipe.runtime.meter import blame
from rxpipe.runtime.saving import Saving

if TYPE_CHECKING:
    from rxpipe.runtime.state import StateFile

FIRST_LOOK, LONGEST_LOOK = 0.01, 0.25
"""Seconds between two looks at what a checkpoint waits for."""

COLLECT_AFTER, COLLECT_EVERY = 0.1, 5.0
"""Seconds of waiting after which the garbage collector is asked for leases in reference cycles."""


PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds up to which the times are counted for which sources were held; see `Checkpoints.pauses`."""


class Checkpoints:
    """Takes the checkpoints of one run.

    The sources are held only until every step has told what it has to save as of that moment, see `Cut`: the flow goes
    on while that is packed and written. Until it is committed, what counts is the checkpoint before; the next one
    waits for it. The first is waited for, since from then on there is one to go back to.

    Args:
        flow: Tells what is leased, and holds the sources.
        state: The state file, or None for a run that keeps no state.
        later: Schedules a call after some seconds.
        flush: Has every step emit what it holds, those that others read first.
        clock: Seconds since the epoch.
        aside: Makes a call in a thread, and then another with its future on the thread of the dataflow.

    Attributes:
        taken: How many checkpoints were taken.
        seconds: How long the last one took, from the moment it was due until it was committed.
        pause: How long the last one held the sources.
        pauses: How many held the sources at most as long as each of `PAUSES`, and longer than the one before; at the
            end, those that took longer than all.
        paused: For how many seconds all of them held the sources.
        interval: Seconds between the last two.
        rows: How many state rows the last one wrote.
        nbytes: How many bytes those had.
        last: When the last one was taken, or None.
        failure: Why the last one failed, or None.
        since: Since when the sources are held for one, or None.
    """

    def __init__(
        self,
        flow: Flow,
        state: StateFile | None,
        later: Callable[[float, Callable[[], None]], object],
        flush: Callable[[], None],
        clock: Callable[[], float],
        aside: Callable[[Callable[[], None], Callable[[Future[None]], None]], None],
    ) -> None:
        self._flow = flow
        self._state = state
        self._later = later
        self._flush = flush
        self._clock = clock
        self._aside = aside
        self._steps: dict[str, Callable[[], Iterable[Change]]] = {}
        self._unsaved: dict[str, dict[tuple[bytes, str], bytes | None]] = {}
        self._then: list[Callable[[], None]] = []
        self._whole = False
        self._again = False
        self._saving: Saving | None = None
        self._began = 0.0
        self._closed = False
        self.taken = 0
        self.seconds = 0.0
        self.pause = 0.0
        self.pauses = [0] * (len(PAUSES) + 1)
        self.paused = 0.0
        self.interval = 0.0
        self.rows = 0
        self.nbytes = 0
        self.last: float | None = None
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

    def take(self, then: Callable[[], None] | None = None, *, whole: bool = False) -> None:
        """Take a checkpoint as soon as nothing is leased, then call `then`, also if it failed.

        One whose moment is still to come serves; of one that is being saved, the next one does.

        Args:
            then: What to call.
            whole: Whether to hold the sources until it is committed, as at the end of a run, when nothing goes on.
        """
        if self._closed:
            return
        if then is not None:
            self._then.append(then)
        self._whole |= whole
        if self._saving is not None:
            self._again = True
            return
        if self.since is not None:
            return
        self.since = self._clock()
        self._flow.hold()
        self._flush()
        if self._flow.blocks:
            self._look(FIRST_LOOK, 0.0, COLLECT_AFTER)
        self._flow.when_idle(self._cut)

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

    def _cut(self) -> None:
        """Nothing is leased: have all steps tell what they have to save as of now, and let the flow go on."""
        if self._closed:
            return
        whole = self._whole or self._state is None or not self.taken
        began = self.since or 0.0
        self.interval, self._began = began - self._began if self.taken else 0.0, began
        saving = self._saving = Saving(self._state, self._then)
        self._then, self._whole = [], False
        try:
            self._collect(saving)
            if whole:
                saving.whole()
        except Exception as error:
            if not transient(error):
                raise
            self._over(saving, error)
            return
        if whole:
            self._over(saving, None)
        else:
            self._release()
            self._later(0, lambda: self._write(saving))

    def _write(self, saving: Saving) -> None:
        """Write the next part in a thread."""
        part = saving.part()
        last = saving.last

        def written(future: Future[None]) -> None:
            error = future.exception()
            if error is not None and not (isinstance(error, Exception) and transient(error)):
                raise error
            if last or error is not None:
                self._over(saving, error)
            else:
                self._write(saving)

        self._aside(lambda: saving.write(part, last=last), written)

    def _release(self) -> None:
        self.pause = max(0.0, self._clock() - (self.since or 0.0))
        self.paused += self.pause
        self.pauses[bisect_left(PAUSES, self.pause)] += 1
        self.since = None
        self._flow.release()

    def _over(self, saving: Saving, error: Exception | None) -> None:
        """It is committed, or could not be: what it was to save is then kept for the next one."""
        self._saving = None
        saving.over(saved=error is None)
        if error is not None:
            if self.failure is None:
                logger.warning("checkpoint failed, what it was to save is kept for the next one: {}", error)
            self.failure = f"{type(error).__name__}: {error}"
        else:
            if self.failure is not None:
                logger.info("checkpoint taken, after it had failed")
            self.failure = None
            self._unsaved = {}
            if self._state is not None:
                self.taken += 1
                self.rows, self.nbytes, self.last = saving.rows, saving.nbytes, self._clock()
        self.seconds = max(0.0, self._clock() - self._began)
        if self.since is not None:
            self._release()
        for call in saving.then:
            call()
        if self._again:
            self._again = False
            self.take()

    def _collect(self, saving: Saving) -> None:
        """Have all steps tell what they have to save; those that give all of it at once tell it only this time."""
        for name, changes in self._steps.items():
            told: list[Change] = []
            try:
                found = changes()
                if isinstance(found, Cut):
                    saving.add(name, found)
                    found = found.told
                for row in found:
                    told.append(row)  # noqa: PERF402  # what came before an error must not be lost
            except Exception as error:
                self._keep(name, told)
                blame(error, name)
                raise
            if name in self._unsaved:
                self._keep(name, told)
                told = [(*at, value) for at, value in self._unsaved[name].items()]
            if told:
                saving.add(name, Cut(told, failed=partial(self._keep, name, told)))

    def _keep(self, name: str, told: list[Change]) -> None:
        """Keep changes that were not saved for the next checkpoint; the last value of a row is the one that counts."""
        if self._state is not None and told:
            self._unsaved.setdefault(name, {}).update(((key, part), value) for key, part, value in told)
