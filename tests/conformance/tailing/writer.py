"""The process that writes the log files of a scenario, and knows what it wrote.

It reads one order a line from standard input, as `["append", {"path": "a.log", "count": 100}]`, does it, and answers
with one line: `{"written": RUNS, "skip": REASON}`. A run is `[log, file, first, last, times, sure]`: the records from
`first` to `last` of one log, in its `file`-th file, are complete in it, each so many times; `sure` is false of those
that nobody could have read for certain. It uses the standard library alone, and nothing of the tools it writes for.

    python writer.py FOLDER SEED
"""

from __future__ import annotations

import gzip
import json
import os
import random
import select
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALPHABET = "aé€𝄞z"
"""Characters of one to four bytes."""


def filler(number: int, size: int) -> str:
    """The text of a record, which nothing but its number and its length determine."""
    start = number % len(ALPHABET)
    return ((ALPHABET[start:] + ALPHABET[:start]) * (size // len(ALPHABET) + 1))[:size]


def line_of(log: str, file: int, number: int, size: int) -> bytes:
    """A record as a line, without its end."""
    record = {"log": log, "file": file, "n": number, "size": size, "text": filler(number, size)}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


class Writer:
    """Does what a scenario says to the files of one folder.

    Args:
        folder: Where all paths begin.
        seed: Decides where lines are torn.
    """

    def __init__(self, folder: Path, seed: str) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._open: dict[Path, int] = {}
        self._file: dict[Path, int] = {}
        self._files: dict[str, int] = {}
        self._number: dict[str, int] = {}
        self._halves: dict[Path, tuple[list[Any], bytes]] = {}
        self._written: list[list[Any]] = []
        self._skip = ""

    def obey(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """Do one thing, and tell of all records that are complete in the files since the last answer."""
        do: Callable[..., None] = getattr(self, what)
        do(**given)
        written, self._written = self._written, []
        return {"written": written, "skip": self._skip}

    def _at(self, path: str) -> Path:
        return self._folder / path

    def _opened(self, path: Path) -> int:
        """A descriptor that stays with the file when that is renamed, as that of a logging process does."""
        if path not in self._open:
            log = path.name.split(".")[0]
            if path not in self._file or not path.exists():
                self._file[path] = self._files[log] = self._files.get(log, 0) + 1
            self._open[path] = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        return self._open[path]

    def _close(self, path: Path) -> None:
        if path in self._open:
            os.close(self._open.pop(path))

    def _next(self, path: Path, size: int) -> tuple[list[Any], bytes]:
        log = path.name.split(".")[0]
        number = self._number[log] = self._number.get(log, 0) + 1
        file = self._file[path]
        return [log, file, number, number, 1, True], line_of(log, file, number, size)

    def _put(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    def append(
        self,
        path: str,
        count: int = 1,
        size: int = 40,
        end: str = "\n",
        torn: bool = False,
        sure: bool = True,
        mtime: str = "",
        together: int = 1,
    ) -> None:
        """Append records; torn, in pieces that end anywhere; `mtime` says whether the time of change is as it was."""
        at = self._at(path)
        descriptor = self._opened(at)
        before = os.fstat(descriptor)
        runs, lines = [], []
        for left in range(count, 0, -1):
            run, line = self._next(at, size)
            runs.append([*run[:5], sure])
            lines.append(line + end.encode())
            if len(lines) == together or left == 1:
                self._pieces(descriptor, b"".join(lines), torn)
                lines = []
        self._written.append([*runs[0][:3], runs[-1][3], 1, sure])
        if mtime:
            second = before.st_mtime_ns if mtime == "kept" else before.st_mtime_ns - 3_600_000_000_000
            os.utime(at, ns=(second, second))

    def _pieces(self, descriptor: int, data: bytes, torn: bool) -> None:
        at = 0
        while torn and at < len(data):
            to = min(len(data), at + self._random.randrange(1, 60))
            self._put(descriptor, data[at:to])
            at = to
            if self._random.random() < 0.02:
                time.sleep(0.001)  # the pace of a writer, so that a look may fall between two pieces
        self._put(descriptor, data[at:])

    def header(self, path: str, size: int = 40) -> None:
        """Append the one line that is the same in all files, each time it is written."""
        self._put(self._opened(self._at(path)), line_of("header", 0, 1, size) + b"\n")
        self._written.append(["header", 0, 1, 1, 1, True])

    def raw(self, path: str, data: str) -> None:
        """Append bytes that are no record, each given as the character of its number."""
        self._put(self._opened(self._at(path)), data.encode("latin-1"))

    def long_line(self, path: str, size: int) -> None:
        """Append a line that is longer than what is read, and no record that counts."""
        descriptor = self._opened(self._at(path))
        for _ in range(size >> 20):
            self._put(descriptor, b"x" * (1 << 20))
        self._put(descriptor, b"\n")

    def half(self, path: str, cut: str = "character") -> None:
        """Append a record up to the middle of a character."""
        at = self._at(path)
        descriptor = self._opened(at)
        run, line = self._next(at, 40)
        to = line.index("𝄞".encode()) + 2 if cut == "character" else len(line)
        self._put(descriptor, line[:to])
        self._halves[at] = (run, line[to:] + b"\n")

    def rest(self, path: str) -> None:
        """Append what is left of it."""
        at = self._at(path)
        run, line = self._halves.pop(at)
        self._put(self._opened(at), line)
        self._written.append(run)

    def unended(self, path: str) -> None:
        """Append a record that counts without a newline."""
        self.half(path, cut="end")
        self._written.append(self._halves.pop(self._at(path))[0])

    def create(self, path: str, parents: bool = False) -> None:
        """Make an empty file, or its folder first."""
        if parents:
            self._at(path).parent.mkdir(parents=True, exist_ok=True)
        self._opened(self._at(path))

    def rename(self, path: str, to: str) -> None:
        """Rename a file; its writer keeps it open."""
        old, new = self._at(path), self._at(to)
        new.parent.mkdir(parents=True, exist_ok=True)
        self._close(new)
        old.rename(new)
        moved: list[dict[Path, Any]] = [self._open, self._file, self._halves]
        for kept in moved:
            if old in kept:
                kept[new] = kept.pop(old)

    def rotate(self, path: str) -> None:
        """Rename `x.log.1` to `x.log.2`, then `x.log` to `x.log.1`, and so on, also where they are compressed."""
        known = {int(at.name.removeprefix(f"{self._at(path).name}.").split(".")[0]): at for at in self._rotated(path)}
        for number in sorted(known, reverse=True):
            packed = ".gz" if known[number].suffix == ".gz" else ""
            self.rename(str(known[number].relative_to(self._folder)), f"{path}.{number + 1}{packed}")
        self.rename(path, f"{path}.1")

    def _rotated(self, path: str) -> list[Path]:
        at = self._at(path)
        return list(at.parent.glob(f"{at.name}.*"))

    def compress(self, path: str) -> None:
        """Do as gzip does: write `x.gz` beside, then remove `x`."""
        at = self._at(path)
        self._close(at)
        with at.open("rb") as plain, gzip.open(f"{at}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        shutil.copystat(at, f"{at}.gz")
        at.unlink()

    def copy(self, path: str, to: str) -> None:
        """Copy a file."""
        shutil.copyfile(self._at(path), self._at(to))

    def truncate(self, path: str) -> None:
        """Cut a file to nothing; its writer goes on at the new end."""
        os.truncate(self._at(path), 0)

    def overwrite(self, path: str) -> None:
        """Change a byte amid the file in its place, with the time of change as it was."""
        at = self._at(path)
        before = at.stat()
        with at.open("r+b") as file:
            file.seek(before.st_size // 2)
            file.write(b"#")
        os.utime(at, ns=(before.st_mtime_ns, before.st_mtime_ns))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._close(self._at(path))
        self._at(path).unlink()

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        for at in [at for at in self._open if self._at(path) in at.parents]:
            self._close(at)
        shutil.rmtree(self._at(path))

    def move_folder(self, path: str, to: str) -> None:
        """Rename a folder with all that is in it."""
        for at in [at for at in self._open if self._at(path) in at.parents]:
            self._close(at)
            self._file[self._at(to) / at.name] = self._file[at]
        self._at(path).rename(self._at(to))

    def link(self, path: str, to: str) -> None:
        """Give a file a second name."""
        os.link(self._at(path), self._at(to))

    def symlink(self, path: str, to: str) -> None:
        """Have a symbolic link point to a file, at once also where it pointed to another one."""
        aside = self._at(f"{path}.aside")
        aside.symlink_to(self._at(to))
        aside.rename(self._at(path))

    def reuse(self, path: str, to: str) -> None:
        """Remove a file, and make another one that gets its inode, as it does once nobody has the first one open."""
        inode = self._at(path).stat().st_ino
        self.remove(path)
        self._file.pop(self._at(to), None)
        made = self._at(to).with_name(".made")
        for _ in range(1000):
            made.touch()
            if made.stat().st_ino == inode:
                break
            made.unlink()
            time.sleep(0.001)  # until whoever follows the file has let go of it
        else:
            self._skip = "this file system does not reuse inodes soon"
            made.touch()
        made.rename(self._at(to))

    def permit(self, path: str, mode: int) -> None:
        """Change who may read a file."""
        self._opened(self._at(path))
        self._at(path).chmod(mode)

    def many(self, folder: str, files: int, count: int) -> None:
        """Write so many small files, each of a log of its own."""
        self._at(folder).mkdir(exist_ok=True)
        for number in range(files):
            path = f"{folder}/{number:05}.log"
            self.append(path, count, together=count)
            self._close(self._at(path))

    def churn(self, paths: list[str], times: int) -> None:
        """Append records to files in turn, one by one, so that the kernel cannot take two changes together."""
        for _ in range(times):
            for path in paths:
                self.append(path, 1)

    def keep_writing(self, path: str, rotate: int = 0, torn: bool = False, compress: bool = False) -> None:
        """Write until the next order is there.

        Args:
            path: The file.
            rotate: After how many records the file is rotated; 0 for never.
            torn: Whether three in ten lines are torn.
            compress: Whether the files that were rotated twice are compressed.
        """
        at = self._at(path)
        number = 0
        while number % 20 or not select.select([sys.stdin], [], [], 0.002)[0]:
            number += 1
            run, line = self._next_opened(at)
            self._pieces(self._open[at], line + b"\n", torn and self._random.random() < 0.3)
            self._extend(run)
            if rotate and number % rotate == 0:
                self.rotate(path)
                if compress and self._at(f"{path}.2").exists():
                    self.compress(f"{path}.2")

    def _next_opened(self, at: Path) -> tuple[list[Any], bytes]:
        self._opened(at)
        return self._next(at, 40)

    def _extend(self, run: list[Any]) -> None:
        last = self._written[-1] if self._written else None
        if last is not None and last[:2] == run[:2] and last[3] + 1 == run[2]:
            last[3] = run[3]
        else:
            self._written.append(run)


def main() -> None:
    """Obey until there are no more orders."""
    writer = Writer(Path(sys.argv[1]), sys.argv[2])
    with open(sys.stdin.fileno(), "rb", buffering=0) as orders:  # unbuffered: what waits can be selected
        while order := orders.readline():
            sys.stdout.write(json.dumps(writer.obey(*json.loads(order))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
