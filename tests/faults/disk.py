"""What a disk holds after a power loss: of what was not synced some is there, some is not, some is torn."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SHIM = Path(__file__).with_name("shim.c")
SECTOR = 512
FOLDER = -1
"""Stands for the inode of a folder, which has no content of its own."""

VERBS = {"w": "write", "t": "truncate", "s": "sync", "c": "create", "r": "rename", "u": "unlink", "m": "mkdir"}
_HEAD = struct.Struct("<cQQII")


def compiled(folder: Path) -> Path | None:
    """The library made of `shim.c`; None where there is no C compiler, or no Linux."""
    made = folder / "shim.so"
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(made), str(SHIM), "-ldl"]
    if shutil.which("cc") is None or not Path("/proc/self/fd").is_dir():
        return None
    subprocess.run(command, check=True)
    return made


class Event(NamedTuple):
    """A system call: of a file by its inode, or of a name; `data` is what was written, or the new name."""

    op: str
    inode: int
    at: int
    path: str
    data: bytes

    @property
    def name(self) -> str:
        """As `faults_begin` takes it."""
        return f"{VERBS[self.op]} {self.path}"


def events(log: Path) -> Iterator[Event]:
    """The events that were noted."""
    text, at = log.read_bytes(), 0
    while at < len(text):
        op, inode, where, path, data = _HEAD.unpack_from(text, at)
        middle = at + _HEAD.size + path
        at = middle + data
        yield Event(op.decode(), inode, where, text[middle - path : middle].decode(), text[middle:at])


class Disk:
    """A folder's lasting content, and what was done to it since and was not synced.

    The contents of a file and its name are synced apart: a sync of a file says nothing of its name, which a sync of its
    folder makes last. Names of one folder are lost in order, the latest first; writes to a file in any order.

    Args:
        folder: The folder as it is, all of which lasts.
    """

    def __init__(self, folder: Path) -> None:
        self._names: dict[str, int] = {}
        self._contents: dict[int, bytearray] = defaultdict(bytearray)
        self._unsynced: dict[int, list[Event]] = defaultdict(list)
        self._made: Counter[int] = Counter()
        self._renames: dict[str, list[Event]] = defaultdict(list)
        for path in owned(folder):
            self._names |= dict.fromkeys(_parents(str(path.relative_to(folder))), FOLDER)
            inode = path.stat().st_ino
            self._names[str(path.relative_to(folder))] = inode
            self._contents[inode][:] = path.read_bytes()

    def happened(self, event: Event) -> None:
        """A system call was made."""
        if event.op == "c":  # inodes are used again
            self._made[event.inode] += 1
        if event.op in "cwts":
            event = event._replace(inode=event.inode + (self._made[event.inode] << 64))
        if event.op in "wt":
            self._unsynced[event.inode].append(event)
        elif event.op in "crum":
            self._renames[os.path.dirname(event.path)].append(event)
        elif event.op == "s" and event.path in self._folders():
            for change in self._renames.pop(event.path.rstrip("/"), []):
                _rename(self._names, self._contents, change)
        elif event.op == "s":
            for change in self._unsynced.pop(event.inode, []):
                _apply(self._contents[change.inode], change, change.data)

    def _folders(self) -> set[str]:
        return {"", *(f"{folder}/" for folder in self._renames)}

    def after_power_loss(self, rng: random.Random) -> dict[str, bytes]:
        """What is found when the power is back: content by name."""
        luck = rng.choice((0.0, 0.5, 1.0))  # nothing of it, some, all of it
        names = dict(self._names)
        contents = defaultdict(bytearray, {inode: bytearray(content) for inode, content in self._contents.items()})
        for inode, changes in self._unsynced.items():
            for change in changes:
                if rng.random() < luck:
                    _apply(contents[inode], change, change.data)
                elif change.op == "w" and rng.random() < luck:
                    _torn(contents[inode], change, rng)
        for changes in self._renames.values():
            for change in changes[
                : round(len(changes) * luck) if luck in (0.0, 1.0) else rng.randrange(len(changes) + 1)
            ]:
                _rename(names, contents, change)
        whole = {name: inode for name, inode in names.items() if _parents(name) <= names.keys()}
        return {name: bytes(contents[inode]) for name, inode in whole.items() if inode != FOLDER}


def owned(folder: Path) -> Sequence[Path]:
    """The files that a run wrote in a folder, without those of the harness and those that do not last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parts[len(folder.parts)] != "logs"]
    return [
        path for path in files if not path.name.startswith(("faults.", "graph.")) and not path.name.endswith("-shm")
    ]


def put(folder: Path, found: dict[str, bytes]) -> None:
    """Make a folder hold what is found on a disk."""
    for path in folder.iterdir():
        if path.name not in ("logs", "graph.yaml", "faults.log"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _apply(content: bytearray, change: Event, data: bytes) -> None:
    if change.op == "t":
        del content[change.at :]
        content.extend(bytes(change.at - len(content)))
    else:
        content.extend(bytes(max(0, change.at - len(content))))
        content[change.at : change.at + len(data)] = data


def _torn(content: bytearray, change: Event, rng: random.Random) -> None:
    """Some sectors of a write are there."""
    start = change.at
    while start < change.at + len(change.data):
        end = min((start // SECTOR + 1) * SECTOR, change.at + len(change.data))
        if rng.random() < 0.5:
            _apply(content, change._replace(at=start), change.data[start - change.at : end - change.at])
        start = end


def _parents(name: str) -> set[str]:
    """The folders that a file is in."""
    return {str(parent) for parent in Path(name).parents} - {"."}


def _rename(names: dict[str, int], contents: dict[int, bytearray], change: Event) -> None:
    if change.op == "m":
        names.setdefault(change.path, FOLDER)
    elif change.op == "c":
        names[change.path] = change.inode
        contents.setdefault(change.inode, bytearray())
    elif change.op == "r" and change.path in names:
        names[change.data.decode()] = names.pop(change.path)
    elif change.op == "u":
        with contextlib.suppress(KeyError):
            del names[change.path]
