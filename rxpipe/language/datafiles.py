"""Data files that a graph names: where they are looked for, and a digest of what is in them."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Tag, ValidationInfo

from rxpipe.errors import RxpipeError, did_you_mean, nearest


def find_file(path: str, folder: Path) -> Path:
    """A file given in a graph: as it is, or else relative to the graph's folder.

    Raises:
        RxpipeError: It is in neither place.
    """
    given = Path(path).expanduser()
    places = (given, folder / given)
    for place in places:
        if place.is_file():
            return place
    beside: list[str] = []
    for place in places:
        with suppress(OSError):
            beside += [file.name for file in place.parent.iterdir() if file.is_file()]
    near = nearest(given.name, beside)
    guess = did_you_mean(near and str(given.with_name(near)))
    msg = f"data file {path!r} must exist; it is neither in {Path.cwd()} nor in the graph's folder {folder}{guess}"
    raise RxpipeError(msg)


def _found(path: str, info: ValidationInfo) -> str:
    """Look for a file, if the folder of a graph is known; an empty name is none."""
    if path and isinstance(info.context, Path):
        try:
            find_file(path, info.context)
        except RxpipeError as error:
            raise ValueError(str(error)) from error
    return path


DataFile = Annotated[str, AfterValidator(_found)]
"""A file whose content decides what an operator does: state saved under other content is of no use.

It must be there when the graph is checked; an operator that can do without takes a `str`.
"""

DataFiles = Annotated[
    Annotated[DataFile, Tag("one")] | Annotated[list[DataFile], Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]
"""One or several data files."""


def data_files(hint: Any, value: Any) -> list[str]:
    """The file names in a parameter's value, if its annotation says that it holds data files."""
    if not any(metadata == AfterValidator(_found) for metadata in _metadata(hint)):
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


def _metadata(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        yield from typing.get_args(hint)[1:]
    for argument in typing.get_args(hint):
        yield from _metadata(argument)
