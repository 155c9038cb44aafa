"""Reading at once what an open file grew by gives the lines that its turn would give, whatever else happens."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import event as note_event
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import FileEvent, FileState, LineDelta, OriginGone
from rxpipe.lease import Flow
from rxpipe.operators.files import _blocks, _copies, _reader, _tail
from rxpipe.operators.files._reader import Reader
from rxpipe.operators.files._tree import Tree
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.testing import TestContext

Told = dict[str, list[bytes | None]]
"""What came of each path: lines, and None where what was read is void."""

NAMES = ("a", "x.log", "x.log.1")
CONTENT = st.lists(st.sampled_from([b"", b"1", b"2", b"1234", b"\0", b"y" * 40]), max_size=4)
MUCH = 1 << 26
LIMITS = st.sampled_from([MUCH, MUCH, 60])


class InTurns(Reader):
    """Reads nothing but in a file's turn."""

    def _grown(self, event: FileEvent) -> bool:
        return False


class AtOnce(Reader):
    """Counts what it reads at once."""

    count = 0

    def _grown(self, event: FileEvent) -> bool:
        grown = super()._grown(event)
        AtOnce.count += grown
        return grown


class Follower:
    """A subscription of `read_lines` to events given by hand, which can be stopped and started again with its state."""

    def __init__(self, reader: type[Reader], limit: int, **options: Any) -> None:
        self.reader = reader
        self.limit = limit
        self.options = options
        self.told: Told = {}
        self.kept: list[Any] = []
        self.held = False
        self.start([])

    def start(self, states: list[Any]) -> None:
        """Begin with a state."""
        self.context = TestContext(states, flow=Flow(self.limit))
        self.events: Subject[Any] = Subject()
        with entered(self.context), patch.object(sys.modules[read_lines.__module__], "Reader", self.reader):
            lines = self.events.pipe(read_lines(**self.options))
            self.subscription = lines.subscribe(self.note, scheduler=self.context.virtual)

    def note(self, element: Any) -> None:
        """Keep what came, with its lease."""
        assert not self.held
        told = self.told.setdefault(os.path.basename(element.path), [])
        if isinstance(element, OriginGone):
            told.append(None)
            return
        assert isinstance(element, LineDelta)
        assert element.end - element.start == len(element.data)
        assert element.unfinished or element.data.endswith(b"\n")
        told += element.data.splitlines(keepends=True)
        assert self.context.flow.in_flight - len(element.data) < self.limit
        self.kept.append(element)

    def let_go(self) -> None:
        """Hold nothing, so that all that waits is read."""
        if self.held:
            self.context.flow.release()
            self.held = False
        self.context.virtual.advance_by(0)
        while self.kept:
            self.kept.clear()
            self.context.virtual.advance_by(0)

    def hold(self) -> None:
        """Hold the sources, as a checkpoint does."""
        if not self.held:
            self.context.flow.hold()
            self.held = True

    def figures(self) -> tuple[Any, ...]:
        """What a status tells."""
        gauges = self.context.gauges
        return self.context.details["files"](), gauges["lag_bytes"](), gauges["queue_depth"](), gauges["lag_seconds"]()


class Files:
    """A folder, and the events that tell of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = Tree(lambda path: True, lambda path, error: None)
        self.times = itertools.count(1_000_000_000, 1000)

    def events(self) -> list[FileEvent]:
        """What happened since the last time."""
        found: dict[str, FileState | None] = dict.fromkeys(self.tree.files)
        for path in sorted(str(path) for path in self.folder.iterdir()):
            found[path] = self.tree.look(path)
        return self.tree.reconcile(found, [str(self.folder)])

    def do(self, action: str, name: str, content: list[bytes], number: int) -> None:
        """Something happens to a file; each time it has another time of change."""
        path = self.folder / name
        lines = b"".join(text + b"\n" for text in content)
        if action == "append":
            with path.open("ab") as file:
                file.write(lines or b"0\n")
        elif action == "torn":
            with path.open("ab") as file:
                file.write(lines + b"t" * (1 + number % 3))
        elif action == "rewrite":
            path.write_bytes(lines)
        elif action == "overwrite" and path.exists():
            with path.open("r+b") as file:
                file.seek(number % (path.stat().st_size + 1))
                file.write(lines)
        elif action == "truncate" and path.exists():
            os.truncate(path, number % (path.stat().st_size + 1))
        elif action == "replace":
            new = self.folder.parent / "new"
            new.write_bytes(lines)
            new.rename(path)
        elif action == "rename" and path.exists():
            path.rename(self.folder / NAMES[number % len(NAMES)])
        elif action == "delete":
            path.unlink(missing_ok=True)
        for there in self.folder.iterdir():
            if there.name == name or action == "rename":
                now = next(self.times)
                os.utime(there, ns=(now, now))


CHANGES = [*["append"] * 9, "torn", "torn", "rewrite", "overwrite", "truncate", "replace", "rename", "delete"]
OTHERS = [*["nothing"] * 9, "untold", "untold", "hold", "let go", "restart", "crash", "checkpoint", "again", "wait"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(CHANGES),
        st.sampled_from([*NAMES, "a", "a"]),
        CONTENT,
        st.integers(0, 99),
        st.sampled_from(OTHERS),
    ),
    min_size=8,
    max_size=30,
)
OPTIONS = st.fixed_dictionaries(
    {
        "block": st.sampled_from([1 << 18, 200, 30, 5]),
        "max_line": st.sampled_from([1 << 24, 1 << 24, 20, 4]),
        "last_line": st.sampled_from(["hold", "emit"]),
        "renamed": st.sampled_from(["follow", "reread"]),
    }
)


def run(
    steps: Any, options: dict[str, Any], limit: int, sample: int, descriptors: int, check: Callable[..., None]
) -> None:
    """Have both ways of reading follow the same files."""
    with (
        tempfile.TemporaryDirectory() as outside,
        patch.object(_tail, "SAMPLE", sample),
        patch.object(_blocks, "SAMPLE", sample),
        patch.object(_copies, "SAMPLE", sample),
        patch.object(_reader, "_SMALLEST_READ", 1),
        patch.object(_reader, "Descriptors", lambda _: _tail.Descriptors(descriptors)),
    ):
        folder = Path(outside) / "logs"
        folder.mkdir()
        both = Follower(AtOnce, limit, **options), Follower(InTurns, limit, **options)
        try:
            check(Files(folder), both, steps)
        finally:
            for one in both:
                one.subscription.dispose()


def exact(files: Files, both: tuple[Follower, Follower], steps: Any) -> None:
    """Events come at once: whatever comes of a path is the same, and so is what is saved and shown."""
    saved: list[Any] = [([], {}) for _ in both]
    last: FileEvent | None = None

    def give(events: list[FileEvent]) -> None:
        for event in events:
            for one in both:
                one.events.on_next(event)

    for action, name, content, number, then in steps:
        files.do(action, name, content, number)
        if then == "untold":
            continue
        events = files.events()
        give(events)
        last = next((event for event in events if event.kind in ("modify", "truncate")), last)
        for at, one in enumerate(both):
            if then == "hold":
                one.hold()
            elif then == "let go":
                one.let_go()
            elif then == "wait":
                one.context.virtual.advance_by(3)
            elif then == "again" and last is not None:
                one.events.on_next(last)
            elif then in ("restart", "checkpoint"):
                one.let_go()
                saved[at] = (one.context.checkpoint(), {path: list(told) for path, told in one.told.items()})
        if then in ("restart", "crash"):
            for one, (states, told) in zip(both, saved, strict=True):
                one.subscription.dispose()
                one.kept.clear()
                one.held = False
                one.told = {path: list(lines) for path, lines in told.items()}
                one.start(states)
            files.tree = Tree(lambda path: True, lambda path, error: None)
            give([event._replace(known=True) for event in files.events()])
        if both[0].limit > 60 and not both[0].held:
            for one in both:
                one.context.virtual.advance_by(0)
            assert both[0].told == both[1].told
            assert both[0].figures() == both[1].figures()
    give(files.events())
    for one in both:
        one.let_go()
    assert both[0].figures() == both[1].figures()
    assert both[0].context.checkpoint() == both[1].context.checkpoint()
    for one in both:
        one.events.on_completed()
        one.let_go()
    assert both[0].told == both[1].told


def late(files: Files, both: tuple[Follower, Follower], steps: Any) -> None:
    """Events come late and again: once all came, what holds is the same."""
    due: list[FileEvent] = []
    past: list[FileEvent] = []
    for action, name, content, number, then in steps:
        files.do(action, name, content, number)
        due += files.events()
        if then == "again":
            for event in past[number % (len(past) + 1) :][:1]:
                for one in both:
                    one.events.on_next(event)
        elif then == "hold":
            for one in both:
                one.hold()
        elif then == "let go":
            for one in both:
                one.let_go()
        for _ in range(number % 4):
            if due:
                event = due.pop(0)
                past += [event] if event.kind == "modify" else []
                for one in both:
                    one.events.on_next(event)
    for event in due:
        for one in both:
            one.events.on_next(event)
    for one in both:
        one.let_go()
        one.events.on_completed()
        one.let_go()
    assert holds(both[0].told) == holds(both[1].told)


def holds(told: Told) -> dict[str, list[bytes | None]]:
    """What was not taken back."""
    held = {}
    for path, lines in told.items():
        at = max((number for number, line in enumerate(lines) if line is None), default=-1)
        if lines[at + 1 :]:
            held[path] = lines[at + 1 :]
    return held


SAMPLES = st.sampled_from([1024, 16])
DESCRIPTORS = st.sampled_from([64, 64, 1])


@given(STEPS, OPTIONS, LIMITS, SAMPLES, DESCRIPTORS)
def test_what_is_read_at_once_is_what_is_read_in_turns(
    steps: Any, options: dict[str, Any], limit: int, sample: int, descriptors: int
) -> None:
    before = AtOnce.count
    if descriptors == 1:  # what waits to be read of a file that goes is read only if it is still open: let nothing wait
        limit, steps = MUCH, [(*step, "nothing" if then == "hold" else then) for *step, then in steps]
    run(steps, options, limit, sample, descriptors, exact)
    note_event(f"at once: {min(AtOnce.count - before, 3)}")


@given(STEPS, OPTIONS, LIMITS, DESCRIPTORS)
def test_late_events_do_not_matter(steps: Any, options: dict[str, Any], limit: int, descriptors: int) -> None:
    run(steps, options, limit, 1024, descriptors, late)
