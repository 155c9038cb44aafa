"""Names of files made of records: which ones there are, and which ones must not be."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from rxpipe.errors import did_you_mean, nearest

LONGEST = 255
"""Bytes of a name, as most file systems have it."""

DERIVED = ("stem", "name", "date", "key")

_ROOM = 48
"""Bytes of a name that a key does not take, for what stands around it."""

_UNUSUAL = re.compile(r"[^\w.-]+")


class NameOfFileError(ValueError):
    """A record does not say where it is to be written, or says a place where it must not be."""


class _Part(NamedTuple):
    """A piece of a name: text as it is, and the field whose value comes behind it."""

    text: str
    field: str | None


class Names:
    """The names that a pattern gives to records.

    Args:
        pattern: A path; in it `{field}` stands for a field of the record.

    Attributes:
        folder: The part of the path that is the same for all; no file is outside of it.
        fields: The fields that it needs.

    Raises:
        ValueError: It is no pattern.
    """

    def __init__(self, pattern: str) -> None:
        *folders, name = pattern.split("/")
        if not name or "\0" in pattern:
            msg = f"must be a file's path, in which {{field}} stands for a field of the record; got {pattern!r}"
            raise ValueError(msg)
        count = next((n for n, folder in enumerate(folders) if "{" in folder or "}" in folder), len(folders))
        self.folder = Path("/".join(folders[:count]) or ("/" if count else ".")).expanduser()
        self._pattern = pattern
        self._segments = [_parts(segment, pattern) for segment in (*folders[count:], name)]
        self.fields = tuple(dict.fromkeys(part.field for parts in self._segments for part in parts if part.field))

    def path(self, record: Mapping[str, Any], now: float) -> Path:
        """Where a record belongs.

        Args:
            record: The record.
            now: Seconds since the epoch.

        Raises:
            NameOfFileError: That cannot be said, or must not be.
        """
        made = self.folder
        for parts in self._segments:
            made /= checked("".join(part.text + self._text(part.field, record, now) for part in parts))
        return made

    def _text(self, field: str | None, record: Mapping[str, Any], now: float) -> str:
        if field is None:
            return ""
        value = _value(field, record, now)
        if value is None:
            guess = did_you_mean(nearest(field, [*record, *DERIVED]))
            msg = f"'to' needs the field {field!r}, which the record does not have{guess}"
            raise NameOfFileError(msg)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            msg = f"'to': field {field!r} must be a text or a whole number; got {value!r:.100}"
            raise NameOfFileError(msg)
        return str(value)


def _parts(segment: str, pattern: str) -> list[_Part]:
    try:
        found = [*Formatter().parse(segment)]
    except ValueError as error:
        msg = f"must be a path in which {{field}} stands for a field; got {pattern!r}: {error}"
        raise ValueError(msg) from error
    for _, field, form, conversion in found:
        if field is not None and (not field.isidentifier() or form or conversion):
            msg = f"must have the name of a field alone in braces; got {{{field}}} in {pattern!r}"
            raise ValueError(msg)
    return [_Part(text, field) for text, field, _, _ in found]


def _value(field: str, record: Mapping[str, Any], now: float) -> object:
    """The value of a field, or what is derived from others; None where there is none."""
    if field in record or field not in DERIVED:
        return record.get(field)
    if field == "date":
        return datetime.fromtimestamp(now, UTC).astimezone().strftime("%Y-%m-%d")
    task, path = record.get("task"), record.get("path")
    if field == "key":
        key = task.get("key") if isinstance(task, Mapping) else path
        return safe(key) if isinstance(key, str) and key else None
    if not isinstance(path, str):
        return None
    name = os.path.basename(path)
    return name if field == "name" else os.path.splitext(name)[0]


def safe(key: str) -> str:
    """A name for a key: the key itself where that is one, else one that no other key has."""
    plain = _UNUSUAL.sub("_", key).lstrip(".")
    short = plain.encode("utf-8", "replace")[-(LONGEST - _ROOM) :].decode("utf-8", "ignore")
    if short == key:
        return key
    return f"{short}-{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}"


def checked(name: str) -> str:
    """The name of a file or folder.

    Raises:
        NameOfFileError: It would be somewhere else, or is none.
    """
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        must = "be one in its folder, without '/' and control characters"
    elif len(name.encode()) > LONGEST:
        must = f"have at most {LONGEST} bytes"
    else:
        return name
    msg = f"the name of a file must {must}; got {name!r:.200}"
    raise NameOfFileError(msg)


def require_inside(path: Path, folder: Path) -> None:
    """Check that nothing at a path, or on the way to it, leads out of its folder.

    Raises:
        NameOfFileError: A link does, or there is something that is no file.
    """
    real = Path(os.path.realpath(folder))
    if not Path(os.path.realpath(path.parent)).is_relative_to(real):
        msg = f"{path}: must be in {folder}; got a link on the way that leads out of it"
        raise NameOfFileError(msg)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        msg = f"{path}: must be a file, or nothing; got {'a link' if path.is_symlink() else 'something else'}"
        raise NameOfFileError(msg)


def numbered(path: Path, number: int) -> Path:
    """The name with a number, from 2 on, before its suffix."""
    return path if number == 1 else path.with_name(checked(f"{path.stem}-{number}{path.suffix}"))
