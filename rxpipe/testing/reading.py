"""Reading one test of a graph file: its parts by kind, and every mistake a problem with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from rxpipe.errors import Problem, RxpipeError, did_you_mean, nearest
from rxpipe.graph import FROM, Graph
from rxpipe.parameters.units import seconds
from rxpipe.registry import registry
from rxpipe.testing.cases import FILES
from rxpipe.testing.marbles import TICK, Event, MarbleError, length, parse_marbles


class Section(Struct):
    """What the tests of one graph have in common.

    Attributes:
        graph: The graph.
        kinds: What may be expected: the graph's streams, their outputs and `errors`, with the kinds of their elements.
        problems: What is wrong with the tests.
        names: The names of the tests so far.
    """

    graph: Graph
    kinds: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class Reader:
    """Reads the parts of one test.

    Args:
        section: Takes the problems.
        index: The test's number.
        raw: What is written there.

    Attributes:
        tick: Seconds of a tick.
        last: The last second that the test mentions.
        letters: What letters stand for.
    """

    def __init__(self, section: Section, index: int, raw: Mapping[str, Any]) -> None:
        self.section = section
        self.index = index
        self.raw = raw
        self.last = 0.0
        self.tick = self.duration("tick", TICK)
        self.letters = self.where()

    def note(self, message: str, *path: str | int, name: bool = False, column: int | None = None) -> None:
        """Add a problem; the path is that of what is wrong, inside the test."""
        place = self.section.graph.places.at(("tests", self.index, *path), name=name)
        if place is not None and column is not None:
            place = place.moved(column)
        self.section.problems.append(Problem(f"tests[{self.index}]: {message}", place))

    def known(self, raw: Mapping[Any, Any], keys: Sequence[str], what: str, *path: str | int) -> None:
        """Note the keys that mean nothing here."""
        for key in raw:
            if key not in keys:
                guess = nearest(str(key), keys)
                tail = did_you_mean(guess) if guess else f"; {what} has {', '.join(map(repr, keys))}"
                self.note(f"unknown key {key!r}{tail}", *path, key, name=True)

    def stream(self, name: Any, names: Sequence[str], *path: str | int) -> bool:
        """Whether there is such a stream."""
        if name in names:
            return True
        guess = nearest(str(name), names)
        tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, names))}"
        self.note(f"unknown stream {name!r}{tail}", *path, name=True)
        return False

    def mapping(self, key: str) -> Mapping[Any, Any]:
        """The value of a key that is a mapping."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.note(f"{key!r} must be a mapping; got {value!r}", key)
        return value if isinstance(value, Mapping) else {}

    def items(self, key: str) -> list[tuple[int, Mapping[Any, Any]]]:
        """The mappings of a key that is a list of them."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, list):
            self.note(f"{key!r} must be a list; got {value!r}", key)
        found = []
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, Mapping):
                found.append((index, item))
            else:
                self.note(f"{key}: must be a mapping; got {item!r}", key, index)
        return found

    def duration(self, key: str, default: float) -> float:
        """A duration above 0, in seconds."""
        value = self.raw.get(key, default)
        try:
            found = seconds(value)
            if found > 0:
                return found
            self.note(f"{key}: must be above 0; got {value!r}", key)
        except (RxpipeError, TypeError) as error:
            self.note(f"{key}: {error}", key)
        return default

    def at(self, value: Any, *path: str | int) -> float:
        """A number of ticks, in seconds."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self.note(f"{path[-1]}: must be a number of ticks from 0 on; got {value!r}", *path)
            return 0.0
        self.last = max(self.last, value * self.tick)
        return round(value * self.tick, 9)

    def where(self) -> dict[str, Any]:
        """The values of letters and digits."""
        letters: dict[str, Any] = {}
        for key, value in self.mapping("where").items():
            if len(str(key)) == 1 and str(key).isalnum():
                letters[str(key)] = value
            else:
                self.note(f"where: must be one letter or digit; got {key!r}", "where", key, name=True)
        return letters

    def marble(self, text: str, *path: str | int) -> list[Event]:
        """The events of a marble, every letter of which is known."""
        for column, char in enumerate(text):
            if char in "^#":
                means = {"^": "time zero, which is where a test begins", "#": "an error, which ends a run"}[char]
                self.note(f"marble: {char!r} would be {means}; got {text!r}", *path, column=column)
                return []
            if char.isalpha() and char not in self.letters:
                known = f"it has {', '.join(map(repr, self.letters))}" if self.letters else "there is none"
                self.note(
                    f"marble: unknown letter {char!r}: must be one of the test's 'where'; {known}", *path, column=column
                )
                return []
        try:
            found = parse_marbles(text, self.letters, tick=self.tick)
        except MarbleError as error:
            self.note(str(error), *path, column=error.column)
            return []
        self.last = max(self.last, length(text, self.tick))
        return found


def is_sink(name: str) -> bool:
    """Whether an operator delivers something to somebody outside the graph."""
    if name == FROM:
        return False
    try:
        operator = registry.get(name)
    except Exception:  # an operator that cannot be imported is reported by the check
        return False
    return operator is not None and operator.delivery is not None


def filled(value: Any, folder: str) -> Any:
    """A value whose texts name the folder of the test's files."""
    if isinstance(value, str):
        return value.replace(FILES, folder)
    if isinstance(value, Mapping):
        return {key: filled(item, folder) for key, item in value.items()}
    return [filled(item, folder) for item in value] if isinstance(value, list) else value


def texts_of(value: Any) -> list[str]:
    """All texts in a value."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []
