"""What was delivered, held against what was written: lost, doubled, torn or out of order, each told by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from tests.conformance.tailing.writer import filler

Name = tuple[str, int, int]
"""Log, file of the log, number of the record."""

NO_RECORD = "#bad"
"""Stands in every line that is written and is no record."""

DISORDERED = "disordered"

_SHOWN = 5


class Written:
    """What the writer says is complete in the files.

    Attributes:
        times: How often each record was written.
        unsure: The records that nobody could have read for certain.
    """

    def __init__(self) -> None:
        self.times: Counter[Name] = Counter()
        self.unsure: set[Name] = set()
        self.count = 0

    def add(self, runs: Iterable[tuple[str, int, int, int, int, bool]]) -> None:
        """Take one answer of the writer in."""
        for log, file, first, last, times, sure in runs:
            names = [(log, file, number) for number in range(first, last + 1)]
            self.times.update(dict.fromkeys(names, times))
            if sure:
                self.count += times * len(names)
            else:
                self.unsure.update(names)

    def all_in(self, delivered: Counter[Name]) -> bool:
        """Whether each record that must be there is, as often as it was written."""
        return all(delivered[name] >= times for name, times in self.times.items() if name not in self.unsure)


class Problem(NamedTuple):
    """One way in which what was delivered is wrong: its name, how often, and the first examples."""

    kind: str
    number: int
    examples: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number:,} ({self.examples})" if self.examples else self.kind


def name_of(record: Any) -> Name | None:
    """The name of a record that is whole; None of anything else."""
    match record:
        case {"log": str(log), "file": int(file), "n": int(number), "size": int(size), "text": str(text)}:
            return (log, file, number) if text == filler(number, size) else None
    return None


def names_in(lines: Iterable[bytes]) -> Iterator[Name | bytes]:
    """The records of lines, and the lines that are torn; others that were written are passed over."""
    for line in lines:
        try:
            name = name_of(orjson.loads(line.removeprefix(b"\xef\xbb\xbf")))
        except orjson.JSONDecodeError:
            name = None
        if name is not None:
            yield name
        elif line.strip(b"\r\n\0 ") and NO_RECORD.encode() not in line:
            yield line


def judge(delivered: Iterable[Name | bytes], written: Written, *, across: bool) -> list[Problem]:
    """All that is wrong with what one sink holds.

    Args:
        delivered: Records, and lines that are no record, in the order in which the sink has them.
        written: What was written.
        across: Whether the records of a log must be in order over all its files, not in each only.
    """
    found: Counter[Name] = Counter()
    last: dict[tuple[str, int], int] = {}
    torn: list[bytes] = []
    disorder: list[Name] = []
    for name in delivered:
        if isinstance(name, bytes):
            torn.append(name)
            continue
        found[name] += 1
        log, file, number = name
        where = (log, 0 if across else file)
        if found[name] == 1 and number < last.get(where, 0):
            disorder.append(name)
        last[where] = max(number, last.get(where, 0))
    lost = sorted((written.times - found).elements())
    return [
        *_problem("lost", [name for name in lost if name not in written.unsure]),
        *_problem("doubled", sorted((found - written.times).elements())),
        *_problem("torn", torn),
        *_problem(DISORDERED, disorder),
    ]


def _problem(kind: str, names: list[Any]) -> list[Problem]:
    """As a list, empty where there is nothing wrong."""
    shown = [name[:60].decode(errors="replace") if isinstance(name, bytes) else _place(name) for name in names[:_SHOWN]]
    return [Problem(kind, len(names), ", ".join(shown) + (", …" if len(names) > _SHOWN else ""))] if names else []


def _place(name: Name) -> str:
    return f"{name[0]}/{name[1]}:{name[2]}"
