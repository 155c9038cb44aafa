"""Data files that a graph names: where they are looked for, and a digest of what is in them."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.parameters.plain import Checked, Reading

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_LONGEST = 255
"""Characters of a name; longer ones are texts."""

_folder: ContextVar[Path | None] = ContextVar("rxpipe_folder", default=None)


@contextmanager
def looking_in(folder: Path | None) -> Generator[None, None, None]:
    """Look for the data files that are named meanwhile, in a graph's folder, too; without one do not look."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def known_folder() -> Path | None:
    """The graph's folder, while data files are looked for; see `looking_in`."""
    return _folder.get()


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


def _found(path: str) -> str:
    """Look for a file, if the folder of a graph is known; an empty name is none."""
    folder = known_folder()
    if path and folder is not None:
        try:
            find_file(path, folder)
        except RxpipeError as error:
            raise ValueError(str(error)) from error
    return path


class _OneOrSeveral(Reading):
    """Tells pydantic which of the two a value must be, so that an error speaks of that one only."""

    def read(self, value: Any) -> Any:
        """The value as it is."""
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # declaring a parameter must not cost the import of pydantic

        kinds = {"one": handler.generate_schema(DataFile), "several": handler.generate_schema(list[DataFile])}
        return core_schema.tagged_union_schema(kinds, lambda value: "several" if isinstance(value, list) else "one")


DataFile = Annotated[str, Checked(_found)]
"""A file whose content decides what an operator does: state saved under other content is of no use.

It must be there when the graph is checked; an operator that can do without takes a `str`.
"""

DataFiles = Annotated[DataFile | list[DataFile], _OneOrSeveral()]
"""One or several data files."""


def data_files(hint: Any, value: Any) -> list[str]:
    """The file names in a parameter's value, if its annotation says that it holds data files."""
    if not any(isinstance(found, Checked) and found.function is _found for found in _metadata(hint)):
        return []
    names = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [name for name in names if isinstance(name, str) and name]


class Counts:
    """Marks a parameter that may name a file, whose content is part of what a step makes of a task.

    `DataFile` is for what saved state depends on; a task that is done keeps its result, and is only told of.
    """


def counting_files(hint: Any, value: Any) -> list[str]:
    """The names in a parameter's value that may be those of files whose content counts for tasks."""
    if isinstance(value, str) and any(isinstance(found, Counts) for found in _metadata(hint)):
        return [value] if value and len(value) <= _LONGEST and not set(value) & set("{}\n") else []
    return data_files(hint, value)


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
