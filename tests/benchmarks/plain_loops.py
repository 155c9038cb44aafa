"""Plain loops over session logs, the floor for anything that reads them in Python.

Usage: `plain_loops.py FOLDER orjson|json|search`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson


class Usage(msgspec.Struct, gc=False):
    """The counters of one response."""

    input_tokens: int = 0
    output_tokens: int = 0


class Message(msgspec.Struct, gc=False):
    """One message."""

    id: str | None = None
    model: str | None = None
    usage: Usage | None = None


class Line(msgspec.Struct, gc=False):
    """One line of a log."""

    message: Message | None = None
    timestamp: str | None = None


def lines(data: bytes, load: Callable[[bytes], Any]) -> int:
    """Parse every line."""
    total = 0
    for line in data.splitlines():
        record = load(line)
        usage = (record.get("message") or {}).get("usage")
        if usage:
            total += usage["output_tokens"]
    return total


def search(data: bytes, decode: Callable[[bytes], Line]) -> int:
    """Look for the marker and decode only the lines that have it."""
    total = 0
    behind = 0
    position = data.find(b'"usage":{')
    while position >= 0:
        start = data.rfind(b"\n", behind, position) + 1 or behind
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        message = decode(data[start:end]).message
        if message is not None and message.usage is not None:
            total += message.usage.output_tokens
        behind = end + 1
        position = data.find(b'"usage":{', behind)
    return total


def main() -> None:
    """Read all files with the loop named."""
    decode = msgspec.json.Decoder(Line).decode
    loops: dict[str, Callable[[bytes], int]] = {
        "orjson": lambda data: lines(data, orjson.loads),
        "json": lambda data: lines(data, json.loads),
        "search": lambda data: search(data, decode),
    }
    loop = loops[sys.argv[2]]
    total = 0
    for file in Path(sys.argv[1]).rglob("*.jsonl"):
        data = file.read_bytes()
        total += loop(data[: data.rfind(b"\n") + 1])
    print(total)


if __name__ == "__main__":
    main()
