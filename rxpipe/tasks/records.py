"""Records as tasks: what the store needs to know of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b

import orjson

from rxpipe.context import Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.tasks.store import New


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

    def tasks(self, batch: Batch) -> Iterator[New]:
        """The tasks of a batch's records."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        for row, (key, priority, *content) in zip(*self._values(batch.rows, reject), strict=True):
            try:
                record = orjson.dumps(as_dict(row))
                yield New(_name(key), _place(priority), record, _digest(record, row, *content))
            except (ValueError, TypeError, OSError) as error:
                reject(row, error)


def _name(key: object) -> str:
    if key is None or key == "":
        msg = f"key: must be what tells tasks apart; got {key!r}"
        raise ValueError(msg)
    return key if isinstance(key, str) else orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _place(priority: object) -> float:
    if not isinstance(priority, int | float) or priority != priority:  # noqa: PLR0124  # that is how nan is told
        msg = f"priority: must be a number; got {priority!r}"
        raise ValueError(msg)
    return float(priority)


def _digest(record: bytes, row: Row, content: object = None) -> bytes:
    """A digest of what a task depends on: of a file where a path is named, else of the value or the whole record."""
    path = content if content is not None else as_dict(row).get("path")
    if isinstance(path, str) and os.path.isfile(path):
        return _of_file(path)
    return blake2b(record if content is None else orjson.dumps(content), digest_size=16).digest()


def _of_file(path: str) -> bytes:
    made = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            made.update(data)
    return made.digest()
