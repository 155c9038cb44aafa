"""A series of numbered files: what they are called, when the next one begins, what becomes of the old ones."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError

_CODES = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%j": 3}
"""What a name may tell of the time, with the number of digits."""

_CODE = re.compile("%.?")


class Member(NamedTuple):
    """A file of the series that is there."""

    number: int
    name: str
    packed: bool


class Series:
    """The files that one sink writes, one after the other.

    Args:
        path: The first file's path; a running number comes before the suffix, and codes in the name tell of the time.
        most: Bytes of one file.
        every: Seconds after which a file is full, counted from midnight UTC of 1970-01-01.
        keep: How many files are kept beside the one that is written.
        packed: Whether those are compressed.

    Raises:
        ParameterError: The path has codes that it cannot have.
    """

    def __init__(self, path: Path, most: int | None, every: float | None, keep: int | None, *, packed: bool) -> None:
        _check(path)
        self.folder = path.parent
        self.most = most
        self._stem, self._suffix = path.stem, path.suffix
        self._every = every
        self._keep = keep
        self._packed = packed
        self._pattern = re.compile(rf"{_matching(path.stem)}\.([0-9]+){_matching(path.suffix)}(\.gz)?")

    def period(self, now: float) -> str:
        """What tells one period from the next; a file belongs to one of them."""
        number = "" if self._every is None else str(int(now // self._every))
        return f"{number} {self._dated(self._stem + self._suffix, now)}"

    def path(self, number: int, now: float) -> Path:
        """The path of the file of this number that begins now."""
        return self.folder / f"{self._dated(self._stem, now)}.{number}{self._dated(self._suffix, now)}"

    def _dated(self, text: str, now: float) -> str:
        if "%" not in text:
            return text
        return datetime.fromtimestamp(now if self._every is None else now // self._every * self._every, UTC).strftime(
            text
        )

    def members(self) -> list[Member]:
        """The files that are there, by number."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            found = [(match, entry.name) for entry in entries if (match := self._pattern.fullmatch(entry.name))]
            return sorted(Member(int(match[1]), name, match[2] is not None) for match, name in found)
        return []

    def number_of(self, name: str) -> int:
        """The number in a file's name."""
        match = self._pattern.fullmatch(name)
        return 0 if match is None else int(match[1])

    def last(self) -> Member | None:
        """The file with the highest number."""
        members = self.members()
        return members[-1] if members else None

    def mend(self) -> None:
        """Finish what a killed run was about: a file that was compressed is not there twice, one in part not at all."""
        names = {member.name for member in self.members()}
        for name in names:
            if f"{name}.gz" in names:
                (self.folder / name).unlink()
            _part(self.folder / name).unlink(missing_ok=True)

    def go_back(self, number: int) -> None:
        """Remove the files that were begun behind this one.

        Raises:
            RxpipeError: Another writer is at one of them.
        """
        for member in self.members():
            if member.number > number:
                _remove(self.folder / member.name)

    def tidy(self, below: int) -> None:
        """Remove and compress what is older than the file of a number, as told."""
        old = [member for member in self.members() if member.number < below]
        numbers = sorted({member.number for member in old})
        kept = set(numbers if self._keep is None else numbers[max(0, len(numbers) - self._keep) :])
        for member in old:
            if member.number not in kept:
                (self.folder / member.name).unlink(missing_ok=True)
            elif self._packed and not member.packed:
                _pack(self.folder / member.name)


def _matching(text: str) -> str:
    """A regular expression for a part of a name with codes in it."""
    return _CODE.sub(lambda found: rf"[0-9]{{{_CODES[found[0]]}}}", re.escape(text))


def _check(path: Path) -> None:
    unknown = [code for code in _CODE.findall(path.name) if code not in _CODES]
    if "%" in str(path.parent):
        message = f"codes such as %Y must be in the file's name, not in its folder; got {str(path)!r}"
    elif unknown:
        message = f"a code in the name must be one of {', '.join(_CODES)}; got {unknown[0]!r}"
    else:
        return
    raise ParameterError("write_lines", [ParameterProblem(("path",), message)])


def _remove(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError as error:
        msg = f"{path}: a series of files must have one writer; another sink or run has it open, give each its own path"
        raise RxpipeError(msg) from error
    finally:
        os.close(descriptor)


def _pack(path: Path) -> None:
    """Compress a file; at any moment it is there whole, at least once."""
    part = _part(path)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as raw, path.open("rb") as plain:
        with gzip.GzipFile(path.name, "wb", 6, raw) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(path.with_name(f"{path.name}.gz"))
    path.unlink()


def _part(path: Path) -> Path:
    """Where a file is compressed to until that is done."""
    return path.with_name(f".{path.name}.gz.part")
