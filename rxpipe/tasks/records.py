"""Records as tasks: what the store needs to know of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import orjson

from rxpipe.context import Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.tasks.store import New


class Draft(NamedTuple):
    """A task, with what it depends on in the place of the digest of that, and the file that may be what is meant."""

    row: Row
    new: New
    path: str | None


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
        """The tasks of a batch's records; files that they depend on are read here."""
        drafts = self.drafts(batch)
        yield from self.whole(drafts, [digest(draft) for draft in drafts], batch)

    def drafts(self, batch: Batch) -> list[Draft]:
        """The tasks of a batch's records, but for what is in files."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        made = []
        for row, (key, priority, *content) in zip(*self._values(batch.rows, reject), strict=True):
            try:
                named = as_dict(row)
                record = orjson.dumps(named)
                told = orjson.dumps(content[0]) if content else record
                path = content[0] if content else named.get("path")
                new = New(_name(key), _place(priority), record, told)
                made.append(Draft(row, new, path if isinstance(path, str) else None))
            except (ValueError, TypeError) as error:
                reject(row, error)
        return made

    def whole(self, drafts: list[Draft], digests: list[bytes | Exception], batch: Batch) -> list[New]:
        """The tasks, with the digests of what they depend on; those whose files cannot be read are rejected."""
        made = []
        for draft, content in zip(drafts, digests, strict=True):
            if isinstance(content, Exception):
                self._context.reject(f"{type(content).__name__}: {content}", draft.row, leases=batch.leases)
            else:
                key, place, record, _ = draft.new
                made.append(New(key, place, record, content))
        return made


def digest(draft: Draft) -> bytes | Exception:
    """A digest of what a task depends on: of a file where a path is named, else of the value or the whole record."""
    try:
        if draft.path is not None and os.path.isfile(draft.path):
            return _of_file(draft.path)
    except (OSError, ValueError) as error:
        return error
    return blake2b(draft.new.content, digest_size=16).digest()


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


def _of_file(path: str) -> bytes:
    made = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            made.update(data)
    return made.digest()
