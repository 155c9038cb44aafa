"""Records as tasks: what the store needs to know of each."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import NamedTuple

import orjson
from msgspec.structs import replace

from rxpipe.context import Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.tasks.statements import digest
from rxpipe.tasks.store import New

_NUMBER = (int, float)
"""`int | float` would be made anew for each record."""


class Named(NamedTuple):
    """A task that depends on a file, if there is one: its place among the tasks, its record, and the file."""

    place: int
    row: Row
    path: str


class Drafts(NamedTuple):
    """Tasks; the `content` of those that are `named` is no digest yet, but what is digested where there is no file."""

    tasks: list[New]
    named: list[Named]

    def digests(self) -> list[bytes | Exception]:
        """Digests of what those that are named depend on; reads files."""
        return [_digest_of_file(path, self.tasks[place].content) for place, _, path in self.named]


class Reading:
    """What the store needs to know of records.

    Args:
        context: The step; it rejects a record without a usable key or priority.
        key: The key.
        priority: The place.
        content: What a task depends on.
    """

    def __init__(self, context: Context, key: str, priority: str, content: str | None) -> None:
        self._context = context
        self._content = content
        texts = [key, priority] if content is None else [key, priority, content]
        self._values = compile_values([parse(text) for text in texts], tuples=True)

    def tasks(self, batch: Batch) -> list[New]:
        """The tasks of a batch's records; files that they depend on are read here."""
        drafts = self.drafts(batch)
        return self.whole(drafts, drafts.digests(), batch)

    def drafts(self, batch: Batch) -> Drafts:
        """The tasks of a batch's records, but for what is in files."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        made = Drafts([], [])
        whole = self._content is None
        for row, values in zip(*self._values(batch.rows, reject), strict=True):
            try:
                record = row if type(row) is dict else as_dict(row)
                told = written = orjson.dumps(record)
                if whole:
                    path = record.get("path")
                else:
                    path, told = values[2], orjson.dumps(values[2])
                key, place = _name(values[0]), _place(values[1])
            except (ValueError, TypeError) as error:
                reject(row, error)
                continue
            if isinstance(path, str):
                made.named.append(Named(len(made.tasks), row, path))
            else:
                told = b"" if whole else digest(told)
            made.tasks.append(New(key, place, written, told))
        return made

    def whole(self, drafts: Drafts, digests: list[bytes | Exception], batch: Batch) -> list[New]:
        """The tasks, with the digests of what they depend on; those whose files cannot be read are rejected."""
        tasks: list[New | None] = [*drafts.tasks]
        for (place, row, _), content in zip(drafts.named, digests, strict=True):
            if isinstance(content, Exception):
                self._context.reject(f"{type(content).__name__}: {content}", row, leases=batch.leases)
                tasks[place] = None
            else:
                tasks[place] = replace(drafts.tasks[place], content=content)
        return [task for task in tasks if task is not None]


def _digest_of_file(path: str, content: bytes) -> bytes | Exception:
    """A digest of what is in a file; where there is none, of what named it."""
    try:
        return _of_file(path) if os.path.isfile(path) else digest(content)
    except (OSError, ValueError) as error:
        return error


def _name(key: object) -> str:
    if type(key) is int:
        return str(key)
    if key is None or key == "":
        msg = f"key: must be what tells tasks apart; got {key!r}"
        raise ValueError(msg)
    return key if isinstance(key, str) else orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _place(priority: object) -> float:
    if not isinstance(priority, _NUMBER) or priority != priority:  # that is how nan is told
        msg = f"priority: must be a number; got {priority!r}"
        raise ValueError(msg)
    return float(priority)


def _of_file(path: str) -> bytes:
    made = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            made.update(data)
    return made.digest()
