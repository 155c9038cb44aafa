"""The marble diagrams of docstrings, read and run.

A diagram is one line for each input, then a line for the operator; two or more spaces stand between label and marble:

    source                        -1-3-5-|
    moving_average(window=2)      ---2-4-|

A line whose label is the operator's name, alone or with parameters written as in Python, ends the diagram; the lines
before it are its inputs, and a parameter that names one stands for that stream (`merge(other)`). A source operator has
no input lines. A line `.NAME` below is what comes out of the output of that name. Lines such as `a: {"level": "INFO"}`
below, before the next blank line, are the legend. A letter or digit outside the legend, or its legend value where that
is a mapping or a list, becomes an element of the type that flows there:

    FileEvent   letter: a modify event of the path that is the letter; mapping: the event's fields
    Batch       letter: one row {"value": letter}; mapping: that one row; list: these rows
    Table       the same, as a table
    others      a digit: its number; a letter: itself; a legend value: itself

The output must equal the last line up to its end, which must be the end of all if the line ends in `|` or `#`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reactivex.observer import Observer

from rxpipe.context import entered
from rxpipe.elements import Batch, FileEvent
from rxpipe.operator import Operator
from rxpipe.table import Table
from rxpipe.testing.context import TestContext
from rxpipe.testing.kinds import element_kind
from rxpipe.testing.marbles import Event, MarbleError, length, parse_marbles, plain_value
from rxpipe.testing.virtual import MarbleSource, record

_LINE = re.compile(r"\s+(?P<label>\.?[A-Za-z_]\w*(?:\(.*\))?)\s{2,}(?P<marble>[-\w()|#^ ]+?)\s*")
_LEGEND = re.compile(r"\s+(?P<char>[A-Za-z0-9]): (?P<value>.+)")


@dataclass
class Diagram:
    """One diagram: the marbles of the inputs by label, the call, the marble of its output, the legend, more outputs."""

    inputs: dict[str, str]
    call: str
    output: str
    legend: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The parameters of the call; names of inputs are left as `InputName`.

        Raises:
            MarbleError: A parameter is neither a literal nor the name of an input line.
        """
        return call_arguments(self.call, self.inputs)


class InputName(str):
    """A parameter that names an input line."""

    __slots__ = ()


def call_arguments(call: str, names: Mapping[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
    """The positional and named arguments of a call written in Python, without running it.

    Raises:
        MarbleError: An argument is no literal.
    """
    try:
        node = ast.parse(call, mode="eval").body
    except SyntaxError as error:
        msg = f"diagram: the call must be Python; got {call!r}"
        raise MarbleError(msg) from error
    if not isinstance(node, ast.Call):
        return [], {}

    def value(argument: ast.expr) -> Any:
        if isinstance(argument, ast.Name) and argument.id in (names or {}):
            return InputName(argument.id)
        try:
            return ast.literal_eval(argument)
        except ValueError as error:
            msg = (
                f"diagram: a parameter must be a literal or an input's name; got {ast.unparse(argument)!r} in {call!r}"
            )
            raise MarbleError(msg) from error

    return [value(argument) for argument in node.args], {str(k.arg): value(k.value) for k in node.keywords}


def docstring_marbles(doc: str, name: str | None = None) -> list[Diagram]:
    """The diagrams of a docstring.

    Args:
        doc: The docstring, cleaned of its common indentation.
        name: The operator's name; without, the second line of a block of two or more is taken for the operator's.
    """
    found: list[Diagram] = []
    inputs: dict[str, str] = {}
    open_block = False
    for line in doc.splitlines():
        match = _LINE.fullmatch(line)
        legend = _LEGEND.fullmatch(line)
        if match and _is_marble(match["marble"]):
            label = match["label"]
            if label.startswith("."):
                if open_block:
                    found[-1].outputs[label[1:]] = match["marble"]
            elif (label.split("(")[0] == name) if name else inputs:
                found.append(Diagram(inputs, label, match["marble"]))
                inputs, open_block = {}, True
            else:
                inputs = {**inputs, label: match["marble"]}
        elif legend and open_block:
            found[-1].legend[legend["char"]] = ast.literal_eval(legend["value"])
        else:
            inputs, open_block = {}, False
    return found


def _is_marble(text: str) -> bool:
    """Whether a text is a marble rather than words: a time line has dashes, or an end, or is one group."""
    return bool(re.search(r"[-|#]", text)) and not re.search(r"[A-Za-z]{4}", re.sub(r"\(.*?\)", "", text))


def check_diagram(operator: Operator, diagram: Diagram) -> None:
    """Run a diagram of an operator.

    Raises:
        AssertionError: The operator does something else.
        MarbleError: The diagram cannot be read.
    """
    from rxpipe.operator import Source, Step  # keeps the names out of the module's page
    from rxpipe.outputs import with_outputs  # likewise

    context = TestContext()
    notes: dict[str, list[Event]] = {name: [] for name in diagram.outputs}
    sources = {}
    for index, (label, marble) in enumerate(diagram.inputs.items()):
        name = label if label in operator.inputs else operator.inputs[min(index, len(operator.inputs) - 1)]
        events = _events(marble, diagram.legend, operator.accepts(name))
        sources[label] = MarbleSource(events, scheduler=context.virtual)
    args, kwargs = diagram.arguments()
    args = [sources[a] if isinstance(a, InputName) else a for a in args]
    kwargs = {k: sources[v] if isinstance(v, InputName) else v for k, v in kwargs.items()}
    expected = _events(diagram.output, diagram.legend, operator.emits)
    ends = any(event.kind != "next" for event in expected)
    until = max(length(text) for text in (diagram.output, *diagram.inputs.values())) + 3600 if ends else None
    with entered(context):
        raw = operator.bind(args, kwargs)
        if operator.is_source:
            observable: Any = Source(operator, raw)
        else:
            step = with_outputs(Step(operator, raw), **{name: _noted(notes[name], context) for name in notes})
            observable = step(next(iter(sources.values())))
        got = record(observable, length(diagram.output) - 1e-3 if until is None else until, context=context)
    _compare(diagram.call, diagram.output, got, expected)
    for name, marble in diagram.outputs.items():
        there = _events(marble, diagram.legend, operator.outputs(operator.validate(raw))[name])
        _compare(f"{diagram.call}.{name}", marble, notes[name], there)


def _noted(events: list[Event], context: TestContext) -> Observer[Any]:
    """Notes what comes, with its time."""
    return Observer(
        lambda element: events.append(Event(context.virtual.time, "next", element)),
        lambda error: events.append(Event(context.virtual.time, "error", error)),
        lambda: events.append(Event(context.virtual.time, "completed")),
    )


def _compare(call: str, marble: str, got: list[Event], expected: list[Event]) -> None:
    if [_comparable(event) for event in got] != [_comparable(event) for event in expected]:
        msg = f"diagram of {call}: must give {marble}\n  expected {expected}\n  got      {got}"
        raise AssertionError(msg)


def _comparable(event: Event) -> tuple[float, str, Any]:
    return (round(event.time, 6), event.kind, event.value if event.kind == "next" else None)


def _events(marble: str, legend: Mapping[str, Any], hint: Any) -> list[Event]:
    values = {char: element(value, hint) for char, value in legend.items()}
    return parse_marbles(marble, values, convert=lambda char: element(plain_value(char), hint, letter=char))


def element(value: Any, hint: Any, *, letter: str | None = None) -> Any:
    """A letter's value as an element of the type that an annotation says.

    Args:
        value: The plain value, or the legend's.
        hint: The element type; of a union the first type counts.
        letter: The letter, where the legend has none.
    """
    kind = element_kind(hint)
    if kind is FileEvent:
        if letter is not None:
            return FileEvent("modify", letter)
        return FileEvent(**value) if isinstance(value, Mapping) else value
    if kind in (Batch, Table):
        rows = [{"value": value}] if letter is not None else [value] if isinstance(value, Mapping) else value
        if not isinstance(rows, list):
            return rows
        return Batch(rows) if kind is Batch else Table("table", (), lambda: rows, lambda: 1)
    return value
