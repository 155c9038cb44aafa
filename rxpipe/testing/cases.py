"""What a test in a graph file says, read: streams given and expected, files, faults. See `docs/testing.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from rxpipe.errors import Place
from rxpipe.testing.marbles import TICK, Event

FILES = "${files}"
"""Stands for the folder of a test's files."""


class Containing(str):
    """An expected text that is a part of what is told."""

    __slots__ = ()


class Given(Struct, frozen=True):
    """What a stream is given in the place of its steps: events at seconds, their values as they are written."""

    events: list[Event]
    place: Place | None = None


class Expectation(Struct, frozen=True):
    """What a stream must do.

    Attributes:
        stream: The stream, or `errors`.
        form: Its elements with their times, its records in order, or the rows of its table in the end.
        expected: Events for a marble, else records.
        until: For a marble without an end: the second from which on anything may come. None: nothing may.
        part: Whether records may have fields that are not named.
        ordered: Whether the order counts.
    """

    stream: str
    form: Literal["marble", "records", "rows"]
    expected: list[Any]
    until: float | None = None
    part: bool = False
    ordered: bool = True
    place: Place | None = None


class Change(Struct, frozen=True):
    """Something done to a file at a second: what, to which, and with what."""

    at: float
    action: Literal["append", "write", "delete", "rename", "truncate"]
    file: str
    value: Any = None


class Kill(Struct, frozen=True):
    """The run ends at a second as by kill -9, and starts again."""

    at: float


class Jump(Struct, frozen=True):
    """The clock is set forward, or back, at a second."""

    at: float
    seconds: float


class Failing(Struct, frozen=True):
    """A sink, named by stream and step, whose next writes fail from a second on."""

    at: float
    stream: str
    step: int
    times: int


class Case(Struct, frozen=True):
    """One test of a graph.

    Attributes:
        name: Its name.
        tick: Seconds of a tick.
        until: The second at which the run drains.
        clock: What the clock says at the beginning, in seconds since the epoch.
        sets: Values of the graph's parameters.
        letters: What letters stand for.
        given: Streams that are given.
        files: The files that are there before the run; None where the test has none.
        changes: What happens to files.
        kills: When the run is killed.
        jumps: How the clock is set.
        failing: Sinks that fail.
        expected: What must come of it.
    """

    name: str
    tick: float = TICK
    until: float = 0.0
    clock: float = 0.0
    sets: Mapping[str, Any] = field(default_factory=dict)
    letters: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)
    files: Mapping[str, Any] | None = None
    changes: list[Change] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    failing: list[Failing] = field(default_factory=list)
    expected: list[Expectation] = field(default_factory=list)
    place: Place | None = None

    @property
    def sources_run(self) -> bool:
        """Whether sources run that are not given: where there are files for them, or nothing is given."""
        return self.files is not None or not self.given
