"""The files of a test: laid, and changed at their ticks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from rxpipe.testing.cases import Change


def lay(folder: Path, files: Mapping[str, Any]) -> None:
    """Write the files of a test: a text as it is; of a list each line or record, with its line end."""
    for name, content in files.items():
        _made(folder, name).write_bytes(data_of(content))


def apply(folder: Path, change: Change) -> set[str]:
    """Change a file; returns the paths at which something happened: those of the folders above are among them.

    Raises:
        OSError: There is no such file.
    """
    file = _made(folder, change.file)
    touched = {file}
    if change.action == "append":
        with file.open("ab") as opened:
            opened.write(data_of(change.value))
    elif change.action == "write":
        beside = file.with_name(f".{file.name}.new")
        beside.write_bytes(data_of(change.value))
        beside.replace(file)
    elif change.action == "delete":
        file.unlink()
    elif change.action == "truncate":
        os.truncate(file, change.value)
    else:
        target = _made(folder, change.value)
        file.rename(target)
        touched.add(target)
    above = {parent for path in touched for parent in path.parents if parent.is_relative_to(folder)}
    return {str(path) for path in touched | above}


def data_of(content: Any) -> bytes:
    """The bytes of a file's content as a test writes it."""
    if isinstance(content, str):
        return content.encode()
    lines = content if isinstance(content, list) else [content]
    return b"".join((line.encode() if isinstance(line, str) else orjson.dumps(line)) + b"\n" for line in lines)


def _made(folder: Path, name: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
