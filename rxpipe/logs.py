"""The log: readable lines on a terminal, JSON lines for machines, both on standard error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message

TEXT = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {message}\n"


def configure(level: str = "INFO", form: Literal["text", "json"] = "text", sink: Any = None) -> None:
    """Send the log to standard error, or to `sink`.

    Args:
        level: Least level shown.
        form: `text` for people, `json` for machines: one object a line with time, level, message and exception.
        sink: A stream to write to instead.
    """
    logger.remove()
    if form == "json":
        stream = sink or sys.stderr
        logger.add(lambda message: _write_json(message, stream), level=level, format="{message}")
        return
    colour = None if sink is None and "NO_COLOR" not in os.environ else False
    logger.add(sink or sys.stderr, level=level, format=TEXT, colorize=colour, diagnose=False)


def _write_json(message: Message, stream: Any) -> None:
    import orjson  # noqa: PLC0415  # only for this form

    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "message": record["message"],
    }
    if record["exception"] is not None:
        line["exception"] = str(record["exception"].value)
    stream.write(orjson.dumps(line).decode() + "\n")
    stream.flush()
