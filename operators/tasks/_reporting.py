"""When a report is made, and where it goes: files, and a webhook that may take its time."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec
from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Context, void
from rxpipe.errors import RxpipeError
from rxpipe.faults.retrying import Retry
from rxpipe.log import logger
from rxpipe.private import make_folder, replacing
from rxpipe.tasks.reading import reading, store_of
from rxpipe.tasks.report import markdown, report

RETRY = Retry(attempts=6, first=1.0, longest=30.0)
"""How often the webhook is called."""

TIMEOUT = 20.0


class Reporting:
    """The report of one subscription.

    Args:
        context: The step.
        scheduler: Where waits come from.
        of: The stream whose tasks are meant.
        files: The Markdown file, and that of JSON if there is one.
        webhook: Where the JSON is sent; empty for nowhere.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        of: str,
        files: tuple[Path, Path | None],
        webhook: str,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._of = of
        self._to, self._json = files
        self._webhook = webhook
        self._timer = SerialDisposable()
        self._timer.disposable = self._scheduler.schedule(lambda *_: void(self._store()))
        self._closed = False
        for path in filter(None, files):
            context.written.add(path)

    def _store(self) -> Path | None:
        """The store; that a parameter is missing is told when the run begins, not when it ends."""
        return store_of(self._context.board, self._of)

    def finish(self, finished: Callable[[], None]) -> None:
        """Make the report, send it, then call `finished`, whatever became of that."""
        store = self._store()
        if store is None:
            logger.warning("{}: there must be a step 'tasks' in the run; got none", self._context.name)
            finished()
            return
        title = str(getattr(self._context.status(), "graph", "") or "Tasks")
        self._call(lambda: self._made(store, title), lambda body: self._send(body, finished, 1), finished)

    def close(self) -> None:
        """Give up."""
        self._closed = True
        self._timer.dispose()

    def _call(self, work: Callable[[], Any], then: Callable[[Any], None], finished: Callable[[], None]) -> None:
        """Do something in a thread; what goes wrong is told, and ends nothing."""

        def over(done: Future[Any]) -> None:
            if self._closed or done.cancelled():
                return
            error = done.exception()
            if error is None:
                then(done.result())
            elif isinstance(error, (OSError, RxpipeError)):
                logger.error("{}: the report cannot be made: {}", self._context.name, error)
                finished()
            else:
                raise error

        self._context.executor().submit(work).add_done_callback(lambda done: self._post(lambda: over(done)))

    def _made(self, store: Path, title: str) -> bytes:
        """In a thread: read the store, write the files."""
        with reading(store) as reader:
            found = report(reader, self._context.now())
        body = msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
        for path, data in ((self._to, markdown(found, title).encode("utf-8", "replace")), (self._json, body)):
            if path is not None:
                make_folder(path.parent)
                with replacing(path, durable=True) as file:
                    file.write(data)
        return body

    def _send(self, body: bytes, finished: Callable[[], None], tried: int) -> None:
        if tried == 1:
            logger.info("{}: {}", self._context.stream or self._context.name, self._to)
        if not self._webhook:
            finished()
            return

        def over(error: Exception | None) -> None:
            if error is None:
                finished()
                return
            wait = RETRY.wait(tried, error, self._context.now())
            if wait is None:
                logger.error("{}: the webhook did not take the report: {}", self._context.name, error)
                finished()
                return
            logger.warning("{}: the webhook did not take the report: {}; trying again", self._context.name, error)
            self._timer.disposable = self._scheduler.schedule_relative(
                wait, lambda *_: self._send(body, finished, tried + 1)
            )

        self._call(lambda: sent(self._webhook, body), over, finished)


def sent(url: str, body: bytes) -> Exception | None:
    """In a thread: send JSON; what went wrong, if anything did."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310  # an http address, see `report`
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  # likewise
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        return error
    except (OSError, ValueError, HTTPException) as error:
        return error
    return None
