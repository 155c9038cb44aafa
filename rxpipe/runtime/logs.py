"""The log: readable lines on a terminal, JSON lines for machines, both on standard error."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger

from rxpipe.language.hidden import masked

if TYPE_CHECKING:
    from loguru import Message

TEXT = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {message}"


def configure(level: str = "INFO", form: Literal["text", "json"] = "text", sink: Any = None) -> None:
    """Send the log to standard error, or to `sink`.

    Values that must not be shown are replaced, see `rxpipe.language.hidden`.
    Colours are used only where the log goes to a terminal, and `NO_COLOR` is not set.

    Args:
        level: Least level shown.
        form: `text` for people, `json` for machines: one object a line with time, level, message and exception.
        sink: A stream, or a function of a line, to write to instead.
    """
    logger.remove()
    if form == "json":
        logger.add(_json_sink(sink), level=level, format=_bare, colorize=False)
        return
    stream = sys.stderr if sink is None else sink
    terminal = callable(getattr(stream, "isatty", None)) and stream.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    logger.add(_Masked(stream), level=level, format=TEXT, colorize=colour, backtrace=False, diagnose=False)


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


def _bare(_: Any) -> str:
    """The message alone: what else there is goes into the object."""
    return "{message}"


def _json_sink(sink: Any) -> Any:
    import orjson  # noqa: PLC0415  # only for this form

    def write(message: Message) -> None:
        record = message.record
        line: dict[str, Any] = {
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
        text = masked(orjson.dumps(line, default=str).decode("utf-8", "replace")) + "\n"
        stream = sys.stderr if sink is None else sink
        if callable(stream):
            stream(text)
        else:
            stream.write(text)
            stream.flush()

    return write
