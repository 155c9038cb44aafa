"""What `write_file` does: files, several at once, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.log import logger
from rxpipe.operators.flow._call import AnyFuture, Call, submitted
from rxpipe.operators.flow._calls import Calls
from rxpipe.operators.tasks._names import NameOfFileError, Names, numbered, require_inside
from rxpipe.private import make_folder, replacing
from rxpipe.tasks.attempt import Attempt, attempt_of, digest_of

Exists = Literal["replace", "keep", "number"]

WORKERS = 4
"""Files that are written at a time: a file system makes several durable in about the time of one."""


class _Job(NamedTuple):
    """A file to write.

    Attributes:
        record: The record.
        path: Where.
        data: What.
        exists: What becomes of a file that is there.
        request: What the place depends on, where a task delivered again must come to the same one; else None.
        attempt: The attempt at the task that the record is of, if it is of one.
    """

    record: dict[str, Any]
    path: Path
    data: bytes
    exists: Exists
    request: list[Any] | None
    attempt: Attempt | None


class Writes(Calls):
    """The files of one subscription.

    Args:
        names: Where records belong.
        content: The expression for what is written.
        exists: What becomes of a file that is there.
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: Takes the records that are written.
    """

    patient = True

    def __init__(
        self,
        names: Names,
        content: str,
        exists: Exists,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
    ) -> None:
        super().__init__(context, scheduler, observer, WORKERS, None)
        self._names = names
        self._exists: Exists = exists
        self._contents = compile_values([parse(content)])
        self._prepared: list[Call] = []
        self._last: dict[Path, Future[Any]] = {}
        self._whose: dict[int, int] = {}
        self._made: dict[Path, int] = {}

    def take(self, element: Any) -> None:
        """Write the records of an element; it ends here if none of them can be."""
        if isinstance(element, Batch) and (element.rows or element.retracted):
            self._prepared = [Call(element, job) for job in self._jobs(element)]
            if not self._prepared:
                return
        super().take(element)

    def _made_of(self, element: Any) -> list[Call]:
        prepared, self._prepared = self._prepared, []
        return prepared

    def _jobs(self, batch: Batch) -> list[_Job]:
        def reject(row: Row, error: BaseException) -> None:
            self._context.reject(error, row, leases=batch.leases)

        for row in batch.retracted:
            reject(row, NameOfFileError("a record taken back cannot be taken out of a file"))
        made = []
        for row, content in zip(*self._contents(batch.rows, reject), strict=True):
            try:
                made.append(self._job(as_dict(row), content, attempt_of(batch.leases)))
            except ValueError as error:
                reject(row, error)
        return made

    def _job(self, record: dict[str, Any], content: object, attempt: Attempt | None) -> _Job:
        if not isinstance(content, str | bytes):
            msg = f"content: must be a text or bytes; got {content!r:.100}"
            raise ValueError(msg)  # of the record, not of the program
        data = content.encode() if isinstance(content, str) else content
        path = self._names.path(record, self._context.now())
        if attempt is not None:
            self._tell_if_others(path, attempt.task.id)
        if attempt is None or not (self._exists == "number" or "date" in self._names.fields):
            return _Job(record, path, data, self._exists, None, attempt)
        request = [
            path.name if self._exists == "number" else "",
            digest_of(content.hex() if isinstance(content, bytes) else content).hex(),
        ]
        before = attempt.recall(self._context.role, request)
        if before is None:
            return _Job(record, path, data, self._exists, request, attempt)
        return _Job(record, Path(before), data, "replace", None, attempt)

    def _tell_if_others(self, path: Path, task: int) -> None:
        """Warn where two tasks have one file: of one of them nothing is left."""
        if self._exists == "number" or self._whose.setdefault(hash(path), task) == task:
            return
        advice = "put {key} into 'to', or say 'on_exists: number'"
        logger.warning("{}: several tasks are written to {}; {}", self._context.name, path, advice)

    def _begun(self, call: Call) -> AnyFuture:
        job: _Job = call.row
        begun = submitted(self._context.executor(), self._write, job, self._last.get(job.path))
        self._last[job.path] = begun
        self._context.written.add(job.path)
        return begun

    def _write(self, job: _Job, before: Future[Any] | None) -> Path:
        """In a thread: write a file."""
        path = _written(job, self._names.folder, before, self._made_before)
        if self._exists == "number" and job.attempt is not None:
            self._made[path] = job.attempt.task.id
        return path

    def _made_before(self, job: _Job, path: Path) -> bool:
        """In a thread: whether a numbered file was made for the same task before a kill, which nobody could note then.

        It has the same content, and is no other task's.
        """
        attempt = job.attempt
        if attempt is None or not path.is_file() or path.stat().st_size != len(job.data):
            return False
        whose = self._made.get(path, attempt.task.id)
        if whose != attempt.task.id or path.read_bytes() != job.data:
            return False
        return not attempt.others_have(self._context.role, str(path))

    def _results(self, call: Call, result: Path) -> list[Any]:
        job: _Job = call.row
        self._forget(call)
        if job.request is not None and job.attempt is not None:
            job.attempt.remember(self._context.role, job.request, str(result))
        return [job.record | {"written": str(result)}]

    def _forget(self, call: Call) -> None:
        if self._last.get(call.row.path) is call.future:
            del self._last[call.row.path]

    def _elements(self, calls: list[Call]) -> list[Any]:
        rows = [row for call in calls for row in call.made]
        return [calls[0].element.replace(rows)] if rows else []

    def _reject(self, call: Call, error: BaseException) -> None:
        self._forget(call)
        self._context.reject(error, call.row.record, leases=call.element.leases)


def _written(job: _Job, folder: Path, before: Future[Any] | None, made: Callable[[_Job, Path], bool]) -> Path:
    """In a thread: write a file, behind what is written to it already; where it is.

    Args:
        job: What to write.
        folder: Where it must be.
        before: What is written to the same path.
        made: Whether a file that is there was made for the same task.
    """
    if before is not None:
        wait([before])  # which was begun earlier, and waits for nobody that comes later
    require_inside(job.path, folder)
    make_folder(job.path.parent)
    if job.exists == "replace":
        with replacing(job.path, durable=True) as file:
            file.write(job.data)
        return job.path
    for number in count(1):
        path = numbered(job.path, number)
        if not path.exists():
            try:
                with replacing(path, durable=True, new=True) as file:
                    file.write(job.data)
            except FileExistsError:  # meanwhile
                pass
            else:
                return path
        if job.exists == "keep" or made(job, path):
            return path
    raise AssertionError
