"""Data files that a graph names: where they are looked for, and a digest of what is in them."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rxpipe.errors import RxpipeError
from rxpipe.params import DataFiles

_MARK = typing.get_args(DataFiles)[1]


def find_file(path: str, folder: Path) -> Path:
    """A file given in a graph: as it is, or else relative to the graph's folder.

    Raises:
        RxpipeError: It is in neither place.
    """
    given = Path(path).expanduser()
    for place in (given, folder / given):
        if place.is_file():
            return place
    msg = f"data file {path!r} must exist; it is neither in {Path.cwd()} nor in the graph's folder {folder}"
    raise RxpipeError(msg)


def data_files(hint: Any, value: Any) -> list[str]:
    """The file names in a parameter's value, if its annotation says that it holds data files."""
    if not _marked(hint):
        return []
    names = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [name for name in names if isinstance(name, str) and name]


def digest(names: list[str], folder: Path) -> str:
    """A digest of the files' contents; a missing file counts as empty, its reader says what is wrong."""
    made = hashlib.blake2b(digest_size=16)
    for name in names:
        try:
            content = find_file(name, folder).read_bytes()
        except (RxpipeError, OSError):
            content = b""
        made.update(b"%d:" % len(content))
        made.update(content)
    return made.hexdigest()


def _marked(hint: Any) -> bool:
    return any(metadata == _MARK for metadata in _metadata(hint))


def _metadata(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        yield from typing.get_args(hint)[1:]
    for argument in typing.get_args(hint):
        yield from _metadata(argument)
