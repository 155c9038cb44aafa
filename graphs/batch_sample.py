"""Sample documents for the `batch` graph: short reports that differ in what they are about and how long they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

COUNT = 40
PLACES = ("harbour", "bakery", "library", "observatory", "tram depot", "market hall", "greenhouse", "ferry")
EVENTS = (
    "opened an hour late because a key was missing",
    "had more visitors than on any Sunday since spring",
    "ran on its own power for the whole day",
    "closed for repairs after a pipe burst",
    "lent its oldest machine to a school",
    "counted its stock and found two of everything",
    "changed its timetable, which nobody noticed",
)


def documents(folder: Path, *, seed: int = 1) -> Iterator[float]:
    """Write the documents into a folder, all at once.

    Args:
        folder: Folder to fill.
        seed: Seed of all chance: the same makes the same documents.
    """
    rng = Random(seed)
    for number in range(1, COUNT + 1):
        place = rng.choice(PLACES)
        told = [f"On day {day} the {place} {rng.choice(EVENTS)}." for day in range(1, rng.randint(3, 12))]
        text = f"# Report {number} of the {place}\n\n" + " ".join(told) + "\n"
        (folder / f"report-{number:02}.md").write_text(text, encoding="utf-8")
    yield 1.0
