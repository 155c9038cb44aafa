"""Dead letters sent through their graph again, from the step that rejected them, each once.

A replay is a run of the graph on its own state whose sources emit nothing. That a letter was sent is noted by the sink
that keeps it, in the checkpoint that saves what came of it: after a crash either both are there or neither.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Change, Context
from rxpipe.errors import RxpipeError
from rxpipe.faults.letters import Found, Letter, Selection, read, read_again
from rxpipe.log import logger
from rxpipe.runtime.statereading import open_readonly
from rxpipe.scheduling.loop import BEHIND

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan, PlannedStep

KEEPER = "to_dead_letters"
"""The operator whose steps keep dead letters."""

MARK = "sent again"
"""The part of a keeper's state that holds which of its letters were sent again, by id."""


def keepers(plan: Plan) -> dict[str, list[Path]]:
    """The steps of a graph that keep dead letters, with the files that are there.

    Raises:
        RxpipeError: It has none.
    """
    steps = [step for stream in plan.streams.values() for step in stream.steps]
    found = {step.name: _files(step) for step in steps if step.operator is not None and step.operator.name == KEEPER}
    if not found:
        msg = (
            f"graph {plan.graph.name!r} must keep dead letters to have any; got no step {KEEPER!r}: add a stream "
            f"[{{from: errors}}, {{{KEEPER}: {{path: dead.jsonl}}}}]"
        )
        raise RxpipeError(msg)
    return found


def _files(step: PlannedStep) -> list[Path]:
    from rxpipe.operators.sinks.to_dead_letters import files_of  # the engine knows operators by name

    return files_of(**step.parameters)


def marked(state: Path | None, keeper: str) -> dict[str, float]:
    """When letters of a keeper were sent again, in seconds since the epoch, by id."""
    if state is None or not state.is_file():
        return {}
    with open_readonly(state) as db:
        rows = db.execute("SELECT key, value FROM state WHERE step = ? AND part = ?", (keeper, MARK)).fetchall()
    return {key.decode(): float(value) for key, value in rows}


class Kept(msgspec.Struct, frozen=True):
    """A dead letter of a graph, and when it was sent again; None if it was not."""

    found: Found
    sent: float | None = None


def dead_letters(plan: Plan, state: Path | None, selection: Selection | None = None) -> list[Kept]:
    """The dead letters that a graph keeps, the oldest of each file first.

    Args:
        plan: The graph.
        state: Its state file, which tells what was sent again.
        selection: Which of them; all by default.

    Raises:
        RxpipeError: The graph keeps none.
    """
    chosen = selection or Selection()
    listed: list[Kept] = []
    for keeper, files in keepers(plan).items():
        sent = marked(state, keeper)
        listed += [Kept(found, sent.get(found.id)) for found in read(files) if chosen.fits(found)]
    return listed


@dataclass
class _Due:
    """Where a letter is that is to be sent, and the steps that keep it, each with its id there."""

    path: Path
    offset: int
    size: int
    copies: list[tuple[str, str]] = field(default_factory=list)
    chosen: bool = False
    sent: bool = False


class Replay:
    """The letters of one replay.

    Args:
        selection: Which letters are sent.

    Attributes:
        sent: How many were sent.
        kept: The ids of those that could not be.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._entries: dict[str, Entry] = {}
        self._marks: dict[str, list[Change]] = {}
        self.sent = 0
        self.kept: list[str] = []

    def entry(self, before: Observable[Any], context: Context) -> Observable[Any]:
        """What a step reads, with a way in for its letters."""
        made = self._entries[context.name] = Entry(before)
        return made

    def marks(self, keeper: str) -> Iterator[Change]:
        """What was sent of a keeper's letters since this was last asked."""
        marks = self._marks.get(keeper, [])
        while marks:
            yield marks.pop(0)

    def begin(
        self,
        plan: Plan,
        context_of: Mapping[str, Context],
        rows_of: Callable[[str], Iterator[tuple[bytes, str, bytes]]],
        over: Callable[[], None],
    ) -> None:
        """Send the letters, one a turn, as long as not too much is in flight; then call `over`.

        The files are read now, when their sinks have gone back to the last checkpoint.

        Args:
            plan: The graph.
            context_of: The steps' contexts.
            rows_of: The saved state of a step.
            over: Called when all were sent.
        """
        waiting = deque(self._due(keepers(plan), rows_of))

        def pump() -> None:
            if not waiting:
                over()
                return
            context = context_of[waiting[0].copies[0][0]]
            if not context.flow.open:
                context.flow.wait(pump)
                return
            self._send(waiting.popleft(), context_of)
            context.scheduler(None).schedule_relative(BEHIND, lambda *_: pump())

        pump()

    def _due(
        self, kept: dict[str, list[Path]], rows_of: Callable[[str], Iterator[tuple[bytes, str, bytes]]]
    ) -> list[_Due]:
        """The letters to send. What several steps keep of one error is sent once, whichever of them is chosen."""
        found_of: dict[object, _Due] = {}
        for keeper, files in kept.items():
            done = {key.decode() for key, part, _ in rows_of(keeper) if part == MARK}
            alike: Counter[bytes] = Counter()
            for found in read(files):
                chosen, sent = self._selection.fits(found), found.id in done
                if len(kept) == 1 and (sent or not chosen):
                    continue  # there may be many of them
                alike[found.digest] += 1
                due = found_of.setdefault(
                    (found.digest, alike[found.digest]), _Due(found.path, found.offset, found.size)
                )
                due.copies.append((keeper, found.id))
                due.chosen |= chosen
                due.sent |= sent
        return [due for due in found_of.values() if due.chosen and not due.sent]

    def _send(self, due: _Due, context_of: Mapping[str, Context]) -> None:
        first = due.copies[0][1]
        try:
            letter = read_again(due.path, due.offset, due.size)
            entry, name = self._way_in(letter)
            if entry is None:
                self._keep(first, f"{letter.step}: the graph has no such step that reads anything")
                return
            context = context_of[name]
            element = letter.element(context.flow)
        except (ValueError, RxpipeError) as error:
            self._keep(first, str(error))
            return
        now = str(context.now()).encode()
        for keeper, copy in due.copies:
            self._marks.setdefault(keeper, []).append((copy.encode(), MARK, now))
        self.sent += 1
        entry.feed(element)

    def _keep(self, kept: str, reason: str) -> None:
        self.kept.append(kept)
        logger.warning("{}: not sent: {}", kept, reason)

    def _way_in(self, letter: Letter) -> tuple[Entry | None, str]:
        """Where a letter enters: at its step, or at the one of its stream that has the same operator, if it moved."""
        step = letter.step
        if step in self._entries:
            return self._entries[step], step
        operator = step.rpartition(" ")[2]
        like = [
            name
            for name in self._entries
            if name.startswith(f"{letter.stream}[") and name.rpartition(" ")[2] == operator
        ]
        return (self._entries[like[0]], like[0]) if len(like) == 1 else (None, step)


class Entry(Observable[Any]):
    """In front of a step: its source, and what is fed from beside it."""

    def __init__(self, source: Observable[Any]) -> None:
        super().__init__()
        self._source = source
        self.feed: Callable[[Any], None] = _nowhere

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        self.feed = observer.on_next
        return self._source.subscribe(observer, scheduler=scheduler)


def _nowhere(_: Any) -> None:
    """The step was not subscribed."""
