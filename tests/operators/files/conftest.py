"""Watching and reading real files under virtual time: a look is a second of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from rxpipe.context import entered
from rxpipe.elements import FileEvent, LineDelta, OriginGone
from rxpipe.operators.files import _watcher
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.operators.files.watch import watch
from rxpipe.testing import TestContext


@pytest.fixture(autouse=True)
def scan_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a scan gives way, and files are read before the others are known: in another order."""
    monkeypatch.setattr(_watcher, "_SLICE", math.inf)


class Session:
    """One subscription of `watch`, and of `read_lines` behind it if asked for."""

    def __init__(
        self, folder: Path, context: TestContext, *, read: dict[str, Any] | None, watched: dict[str, Any]
    ) -> None:
        self.folder = folder
        self.context = context
        self.seen: list[Any] = []
        self.gone: list[Any] = []
        self.done = False
        self.error: Exception | None = None
        options = {"paths": [str(folder)], "backend": "polling"} | watched
        with entered(context):
            source = watch(**options)
            stream = source if read is None else source.pipe(read_lines(**read))
            self.subscription = stream.subscribe(self._note, self._fail, self._complete)

    def _note(self, element: Any) -> None:
        if isinstance(element, LineDelta):
            element = element._replace(lease=None)
        self.seen.append(element)

    def _complete(self) -> None:
        self.done = True

    def _fail(self, error: Exception) -> None:
        self.error = error

    def look(self, seconds: float = 1.0) -> list[Any]:
        """Let time pass; what came since the last look."""
        self.context.virtual.advance_by(seconds)
        new, self.seen = self.seen, []
        return new

    def short(self, path: str) -> str:
        """A path below the folder."""
        return path.removeprefix(f"{self.folder}/")

    def events(self, seconds: float = 1.0) -> list[str]:
        """What happened, in words."""
        return [self._words(event) for event in self.look(seconds)]

    def _words(self, event: FileEvent) -> str:
        origin = f"{self.short(event.old_path)} -> " if event.old_path else ""
        return f"{event.kind} {origin}{self.short(event.path)}{' known' if event.known else ''}"

    def lines(self, seconds: float = 1.0) -> list[tuple[str, Any]]:
        """The lines read: (path, line), and (path, None) where what was read is void."""
        found: list[tuple[str, Any]] = []
        for element in self.look(seconds):
            if isinstance(element, OriginGone):
                found.append((self.short(element.path), None))
            else:
                assert element.end - element.start == len(element.data)
                found += [(self.short(element.path), line) for line in element.data.split(b"\n")[:-1]]
                if not element.data.endswith(b"\n"):
                    found.append((self.short(element.path), element.data.rpartition(b"\n")[2]))
        return found

    def stop(self) -> None:
        """Unsubscribe."""
        self.subscription.dispose()


Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start sessions on `tmp_path / "logs"`; they are stopped at the end."""
    sessions: list[Session] = []
    folder = tmp_path / "logs"
    folder.mkdir()

    def make(read: dict[str, Any] | None = None, context: TestContext | None = None, **watched: Any) -> Session:
        session = Session(folder, context or TestContext(), read=read, watched=watched)
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.stop()


@pytest.fixture
def logs(tmp_path: Path, start: Start) -> Path:
    """The watched folder."""
    return tmp_path / "logs"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The warnings logged, as they come."""
    texts: list[str] = []
    number = logger.add(
        lambda message: texts.append(str(message.record["message"])), level="WARNING", format="{message}"
    )
    yield texts
    logger.remove(number)
