"""When the figures of a batch are read, and where they are shown: a screen, the log, a file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec
from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Context
from rxpipe.errors import RxpipeError
from rxpipe.log import logger
from rxpipe.operators.sinks._cells import encode
from rxpipe.operators.sinks._show import on_resize
from rxpipe.operators.sinks._terminal import Terminal
from rxpipe.operators.tasks._screen import screen, summary
from rxpipe.operators.tasks._words import line
from rxpipe.private import replacing
from rxpipe.runtime.output import Output
from rxpipe.tasks.allowed import Charged, Limited
from rxpipe.tasks.progress import Progress, progress
from rxpipe.tasks.reading import Worked, reading, worked_of

EVERY = 1 / 0.75
"""Seconds between two looks at the store."""

FIRST = 0.2
LOGGED = 10.0
"""Seconds between two lines of the log."""


class Looks:
    """What one subscription of `to_progress` does; see there.

    Args:
        context: The step.
        scheduler: Where waits come from.
        of: The stream whose tasks are meant.
        file: The file for programs, if there is one.
    """

    def __init__(self, context: Context, scheduler: SchedulerBase | None, of: str, file: Path | None) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._of = of
        output: Output | None = context.output()
        self._output = output
        self._file = file or (None if output is None else output.progress_file)
        self._terminal = Terminal(output) if output is not None and output.interactive else None
        self._timer = SerialDisposable()
        self._looking = self._closed = False
        self._logged: float | None = None
        self._line = ""
        self._told: Progress | None = None
        self._finished: Callable[[], None] | None = None
        self._failure: str | None = None
        self._unwatch: Callable[[], None] | None = None
        if self._file is not None:
            context.written.add(self._file)

    def begin(self) -> None:
        """Look from now on."""
        if self._terminal is not None:
            self._unwatch = on_resize(self._draw)
        self._timer.disposable = self._scheduler.schedule_relative(FIRST, lambda *_: self._look())

    def finish(self, finished: Callable[[], None]) -> None:
        """Look for the last time, leave what is final, then call `finished`."""
        self._finished = finished
        self._timer.dispose()
        if not self._looking:
            self._look()

    def close(self) -> None:
        """Look no more, and give the terminal back."""
        self._closed = True
        self._timer.dispose()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._terminal is not None:
            self._terminal.close()

    def _look(self) -> None:
        self._looking = True
        worked, last = worked_of(self._context.board, self._of), self._finished is not None
        limited = [told for told in self._context.board.values() if isinstance(told, Limited)]
        now = self._context.now()
        known = [one.charged(now) for one in limited if one.ledger is not None]
        looked = self._context.executor().submit(self._read, worked, limited, known, now)
        looked.add_done_callback(lambda done: self._post(lambda: self._looked(done, last=last)))

    def _read(self, worked: Worked | None, limited: list[Limited], known: list[Charged], now: float) -> Progress | None:
        """In a thread: read the store and what was charged, write the file."""
        if worked is None or not worked.store.is_file():
            return None
        charged = known + [one.charged(now) for one in limited if one.ledger is None]
        with reading(worked.store) as reader:
            behind = [one for one in charged if one.limited.stream == worked.stream]
            told = progress(reader, now, charged=behind)
        if self._file is not None:
            with replacing(self._file) as file:
                file.write(msgspec.json.encode(told) + b"\n")
        return told

    def _looked(self, done: Future[Progress | None], *, last: bool) -> None:
        self._looking = False
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._failure, self._told = None, done.result()
        elif isinstance(error, (OSError, RxpipeError)):
            if self._failure is None:
                logger.warning("{}: {}; looking again", self._context.name, error)
            self._failure = str(error)
        else:
            raise error
        if last:
            self._end()
        elif self._finished is not None:
            self._look()
        else:
            self._show()
            self._timer.disposable = self._scheduler.schedule_relative(EVERY, lambda *_: self._look())

    def _show(self) -> None:
        if self._terminal is not None:
            self._draw()
        elif self._logged is None or self._context.now() - self._logged >= LOGGED:
            self._log()

    def _draw(self) -> None:
        output, terminal = self._output, self._terminal
        if output is None or terminal is None or self._closed:
            return
        status, size = self._context.status(), output.size()
        title = str(getattr(status, "graph", "") or "rxpipe")
        message = self._failure or (" ".join(output.held[-1].split()) if output.held else "")
        terminal.show(screen(self._told, size, output.titled(title), status, message), size)

    def _log(self) -> None:
        """A line, unless it is the one that was there before."""
        if self._told is None or not self._told.total:
            return
        text = line(self._told)
        if text != self._line:
            self._line, self._logged = text, self._context.now()
            logger.info("{}: {}", self._context.stream or self._context.name, text)

    def _end(self) -> None:
        """What is left when the screen is gone."""
        output, shown = self._output, self._terminal is not None
        self.close()
        if self._told is None and self._failure is None:
            logger.warning("{}: there must be a step 'tasks' in the run; got none", self._context.name)
        elif output is None or not shown:
            self._log()
        elif self._told is not None:
            for text in summary(self._told, output.size()[0], final=True):
                output.stream.write(encode(text, colour=output.colour, unicode=output.unicode) + "\n")
            output.stream.flush()
        if self._finished is not None:
            self._finished()
