"""Every exception of rxpipe, and the guess that goes with a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class RxpipeError(Exception):
    """Base of every error that rxpipe raises on purpose."""


class UnitError(RxpipeError, ValueError):
    """A duration, rate or size that cannot be read."""


class ExpressionError(RxpipeError, ValueError):
    """An expression that cannot be compiled.

    Args:
        message: What must be, and what was found.
        text: The expression.
        column: Where in `text` the problem begins, counted from 0.
        guess: The nearest valid name, if there is one.
    """

    def __init__(self, message: str, *, text: str = "", column: int = 0, guess: str | None = None) -> None:
        super().__init__(message + did_you_mean(guess))
        self.message = message
        self.text = text
        self.column = column
        self.guess = guess


class FunctionError(RxpipeError, ValueError):
    """A function named as `module:name` that is not there; `column` is where in that text the problem begins."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class ParameterError(RxpipeError, ValueError):
    """Parameters that an operator refuses; `problems` holds (path inside the parameters, message, column)."""

    def __init__(self, operator: str, problems: list[ParameterProblem]) -> None:
        super().__init__("; ".join(f"{operator}: {problem}" for problem in problems))
        self.operator = operator
        self.problems = problems


class ParameterProblem(msgspec.Struct, frozen=True):
    """One refused parameter: where inside the parameters, what must be and what was found."""

    path: tuple[str | int, ...]
    message: str
    column: int = 0
    on_name: bool = False

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.path)
        return f"{where}: {self.message}" if where else self.message


class Place(msgspec.Struct, frozen=True):
    """A place in a graph file: 1-based line and column."""

    file: str
    line: int
    column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def moved(self, columns: int) -> Place:
        """The place some columns further on the same line."""
        return Place(self.file, self.line, self.column + columns, self.text)


_AROUND = 100
"""How many characters of a source line are shown before a place, and behind it."""


class Problem(msgspec.Struct, frozen=True):
    """One problem of a graph: where it is, and what must be, what was found and a guess.

    Printed as `file:line:column: stream[step]: message`, then the source line, or what of it stands around the place,
    with a caret.
    """

    message: str
    place: Place | None = None
    stream: str | None = None
    step: int | None = None

    @property
    def where(self) -> str:
        """The stream and step, as `totals[3]`, or the empty string."""
        if self.stream is None:
            return ""
        return self.stream if self.step is None else f"{self.stream}[{self.step}]"

    def __str__(self) -> str:
        return self.told()

    def told(self, columns: int | None = None) -> str:
        """The problem with its source line, of which as much is shown as a terminal of so many columns has room for."""
        head = ": ".join(part for part in (str(self.place or ""), self.where, self.message) if part)
        head = "\n".join(map(escaped, head.split("\n")))
        if self.place is None or not self.place.text:
            return head
        line, at = self.place.text.replace("\t", " "), self.place.column - 1
        before, behind = _AROUND, _AROUND
        if columns is not None:
            room = max(20, columns - len("    ……"))
            before = max(room // 2, room - (len(line) - at))
            behind = room - min(at, before)
        left = "…" * (at > before) + escaped(line[max(0, at - before) : at])
        right = escaped(line[at : at + behind]) + "…" * (len(line) > at + behind)
        return f"{head}\n    {left}{right}\n    {' ' * len(left)}^"


class GraphError(RxpipeError):
    """A graph that cannot run; all its problems at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class RunError(RxpipeError):
    """A run that failed: names the step, and the line that declared it."""


class StateError(RxpipeError):
    """A state file that cannot be used: locked by another run, of another graph, or damaged."""


class MissingExtraError(RxpipeError, ImportError):
    """A feature needs a library that is not installed; the message names the extra to install."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name most like `name`, or None where nothing is near."""
    import difflib  # only what is wrong needs a guess

    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return matches[0] if matches else None


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names for a message; of many the first ones."""
    shown = [*names]
    return ", ".join([*shown[:most], *([f"and {len(shown) - most:,} more"] if len(shown) > most else [])])


def counted(count: int, what: str) -> str:
    """A number of things: `1 error`, `2,000 errors`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def shortened(text: str, width: int = 80) -> str:
    """The text, cut to a number of characters; the last one tells that more was there."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def escaped(text: str) -> str:
    """The text with what cannot be printed, line breaks and control codes above all, as Python writes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def described(value: object) -> str:
    """A value for a message: its repr, shortened; a secret's is hidden."""
    return shortened(repr(value))


def did_you_mean(guess: str | None) -> str:
    """The end of a message that suggests a name; empty without a guess."""
    return f", did you mean {guess!r}?" if guess else ""


def untraced(error: BaseException) -> None:
    """Have an exception, and those that it came from, forget where they were raised, and what was at hand there."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        found = chain.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            chain += [found.__cause__, found.__context__]
