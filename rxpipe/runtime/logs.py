"""The log: readable lines on a terminal, JSON lines for machines, both on standard error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from rxpipe.elements import writable
from rxpipe.errors import escaped
from rxpipe.language.hidden import masked

if TYPE_CHECKING:
    from loguru import Message, Record

TEXT = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {extra[_told]}\n{exception}"


def configure(level: str = "INFO", form: Literal["text", "json"] = "text", sink: Any = None) -> None:
    """Send the log to standard error, or to `sink`.

    Values that must not be shown are replaced, see `rxpipe.language.hidden`.
    Colours are used only where the log goes to a terminal, and `NO_COLOR` is not set.

    Args:
        level: Least level shown.
        form: `text` for people, `json` for machines: one object a line with time, level, message and exception.
        sink: A stream, or a function of a line, to write to instead.

    Where loguru is not imported yet, this is done when something is logged first, by us or by a user's function.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AtImport)]
    if "loguru" in sys.modules:
        _set_up(level, form, sink)
    else:
        sys.meta_path.insert(0, _AtImport(partial(_set_up, level, form, sink)))


class _AtImport(MetaPathFinder):
    """Calls `then` behind the import of loguru."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "loguru":
            return None
        sys.meta_path.remove(self)
        found = find_spec(name)
        if found is not None and found.loader is not None:
            execute = found.loader.exec_module

            def execute_and_then(module: ModuleType) -> None:
                execute(module)
                self._then()

            found.loader.exec_module = execute_and_then  # type: ignore[method-assign]  # of this loader alone
        return found


def _set_up(level: str, form: Literal["text", "json"], sink: Any) -> None:
    from loguru import logger  # see `rxpipe.log`

    logger.remove()
    if form == "json":
        logger.add(_json_sink(sink), level=level, format=_bare, colorize=False)
        return
    stream = sys.stderr if sink is None else sink
    terminal = callable(getattr(stream, "isatty", None)) and stream.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    logger.add(_Masked(stream), level=level, format=_text, colorize=colour, backtrace=False, diagnose=False)


class _Masked:
    """A stream, or a function of a line, that gets to see no hidden value."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, message: str) -> None:
        if callable(self._stream):
            self._stream(masked(message))
        else:
            self._stream.write(masked(message))

    def flush(self) -> None:
        flush = getattr(self._stream, "flush", None)
        if flush is not None:
            flush()


def _text(record: Record) -> str:
    """A message on one line: no name of a file, and no text of a record, moves a cursor or looks like another line."""
    record["extra"]["_told"] = escaped(record["message"])
    return TEXT


def _bare(_: Any) -> str:
    """The message alone: what else there is goes into the object."""
    return "{message}"


def _json_sink(sink: Any) -> Any:
    import orjson  # only for this form

    def write(message: Message) -> None:
        record = message.record
        line: dict[str, str] = {
            "time": record["time"].isoformat(timespec="milliseconds"),
            "level": record["level"].name,
            "message": record["message"],
        }
        exception = record["exception"]
        if exception is not None:
            line["exception"] = f"{exception.type.__name__ if exception.type else 'Exception'}: {exception.value}"
            line["traceback"] = "".join(
                traceback.format_exception(exception.type, exception.value, exception.traceback)
            )
        text = masked(orjson.dumps({name: writable(told) for name, told in line.items()}).decode()) + "\n"
        stream = sys.stderr if sink is None else sink
        if callable(stream):
            stream(text)
        else:
            stream.write(text)
            stream.flush()

    return write
