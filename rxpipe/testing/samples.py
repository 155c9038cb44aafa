"""Something to feed any operator with: parameters from its docstring, elements from its input's type.

Elements are made anew for each run, since they hold leases of its `Flow` and name files of its folder: a sample is a
list of functions, called when the element is due. Files are made in the current folder.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import orjson
from reactivex import operators as rxo

from rxpipe.aggregations.aggregation import parse_aggregation
from rxpipe.elements import Batch, FileEvent, FileState, LineDelta
from rxpipe.errors import RxpipeError
from rxpipe.expressions import Expression, parse
from rxpipe.lease import Flow, Lease
from rxpipe.operator import Operator
from rxpipe.outputs import with_outputs
from rxpipe.table import Table
from rxpipe.testing.diagrams import InputName, docstring_marbles, element
from rxpipe.testing.kinds import element_kind
from rxpipe.testing.marbles import MarbleError

Sample = Callable[[Flow], Any]
"""Makes one element whose leases are counted by a flow."""


@dataclass
class Shown:
    """What an operator's docstring shows of it: parameters it was called with, and elements it was given."""

    parameters: list[dict[str, Any]] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)


def example_namespace() -> dict[str, Any]:
    """The names that an operator's example may use without importing them."""
    import reactivex as rx  # named as in the examples
    from reactivex import operators as ops  # named as in the examples

    return {
        "rx": rx,
        "ops": ops,
        "Batch": Batch,
        "FileEvent": FileEvent,
        "LineDelta": LineDelta,
        "Table": Table,
        "with_outputs": with_outputs,
    }


def run_example(operator: Operator) -> tuple[str, Shown]:
    """Run the example of an operator's docstring; returns the report of what went wrong, and what was seen."""
    names = example_namespace() | vars(sys.modules[operator.module])
    test = doctest.DocTestParser().get_doctest(operator.doc, names, operator.name, operator.where, 0)
    report: list[str] = []
    shown = Shown()
    with _noting(operator, shown), TemporaryDirectory() as folder, contextlib.chdir(folder):
        doctest.DocTestRunner(verbose=False).run(
            test, out=report.append, clear_globs=False
        )  # a live table may still read them
    return "".join(report), shown


@contextlib.contextmanager
def _noting(operator: Operator, shown: Shown) -> Generator[None]:
    """Note the parameters and elements that an operator gets."""
    validate, function = operator.validate, operator.function
    inputs, _ = operator.inputs, operator.parameters  # read now what is derived from the function that is replaced

    def noting_validate(raw: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        checked = validate(raw, folder)
        shown.parameters.append({k: v for k, v in raw.items() if k not in inputs})
        return checked

    def noting_function(*sources: Any, **parameters: Any) -> Any:
        first = [source.pipe(rxo.do_action(shown.elements.append)) for source in sources[:1]]
        return function(*first, *sources[1:], **parameters)

    def noting_input(**given: Any) -> Any:
        name = inputs[0] if inputs else ""
        if name in given:
            given[name] = given[name].pipe(rxo.do_action(shown.elements.append))
        return function(**given)

    operator.validate = noting_validate  # type: ignore[method-assign]  # put back below
    operator.function = lambda *sources, **given: (
        noting_function(*sources, **given) if sources else noting_input(**given)
    )
    try:
        yield
    finally:
        del operator.validate
        operator.function = function


@cache
def shown(operator: Operator) -> Shown:
    """What the diagrams and the example of an operator's docstring show, without those parameters that it refuses."""
    found = Shown()
    for diagram in docstring_marbles(operator.doc, operator.name):
        with contextlib.suppress(MarbleError, RxpipeError):
            args, kwargs = diagram.arguments()
            raw = operator.bind([value for value in args if not isinstance(value, InputName)], kwargs)
            raw = {name: value for name, value in raw.items() if name not in operator.inputs}
            operator.validate(raw)
            found.parameters.append(raw)
        for name in operator.inputs[:1]:
            found.elements += [element(value, operator.accepts(name)) for value in diagram.legend.values()]
    _, example = run_example(operator)
    return Shown(example.parameters + found.parameters, example.elements + found.elements)


def example_parameters(operator: Operator) -> dict[str, Any]:
    """Raw parameters that the operator accepts: those of the example of its docstring, or of its first diagram.

    Without either, required parameters get a text, or a list with the current folder, if they take that.

    Raises:
        RxpipeError: The docstring shows none, and the operator needs some.
    """
    for raw in shown(operator).parameters:
        return {name: _here(value) for name, value in raw.items()}
    required = [p.name for p in operator.parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    for value in ("a", ["."]):
        with contextlib.suppress(RxpipeError):
            operator.validate(dict.fromkeys(required, value))
            return dict.fromkeys(required, value)
    msg = f"the docstring of {operator.name!r} must show a call with its parameters, in an example or a diagram"
    raise RxpipeError(msg)


def _here(value: Any) -> Any:
    """A path in the example's temporary folder as one in the current folder."""
    if isinstance(value, str | Path) and str(value).startswith(f"{gettempdir()}/"):
        return type(value)(Path(value).name)
    return value


PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11))
"""Picks of elements that are all different."""


def samples(
    operator: Operator, raw: Mapping[str, Any], picks: Sequence[Sequence[int]] = PAIRS, of: str = ""
) -> list[Sample]:
    """Elements for an input of the operator.

    Args:
        operator: The operator.
        raw: Its parameters; records have the fields that are mentioned there.
        picks: For each element the numbers of the records that it has; a table has those of the elements before, too.
            What is no block of records is told apart by the first number.
        of: The name of the input, by default the first.
    """
    kind = element_kind(operator.accepts(of or operator.inputs[0]))
    numbers = [number for pick in picks for number in pick]
    rows = sample_rows(operator, raw, max(numbers, default=0) + 1)
    made: list[Sample] = []
    seen: list[dict[str, Any]] = []
    at = 0
    for n, pick in enumerate(picks):
        mine = [rows[number] for number in pick]
        seen += mine
        if kind is LineDelta:
            data = b"".join(orjson.dumps(row) + b"\n" for row in mine)
            made.append(_lines(at, data))
            at += len(data)
        else:
            made.append(_sample(kind, n, pick, mine, list(seen)))
    return made


def _sample(kind: Any, n: int, pick: Sequence[int], mine: list[dict[str, Any]], seen: list[dict[str, Any]]) -> Sample:
    number = pick[0] // 2 if pick else n
    if kind is FileEvent:
        return _file_event(number)
    if kind is Batch:
        return lambda flow: Batch([dict(row) for row in mine], leases=(Lease(flow, 10),))
    if kind is Table:
        return lambda _: Table("sample", (), lambda: seen, lambda: n)
    return lambda _: number + 1


def sample_rows(operator: Operator, raw: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Records like those of the docstring, else with the fields that the parameters mention."""
    like = [row for given in shown(operator).elements for row in _rows_of(given)]
    if like:
        return [_shifted(like[n % len(like)], n // len(like)) for n in range(count)]
    defaults = [parameter.default for parameter in operator.parameters]
    names = sorted({name for text in _texts([raw, defaults]) for name in _fields(text)} | {"value"})
    return [_nested({name: (n * 7 + at) % 4 for at, name in enumerate(names)}) for n in range(count)]


def _rows_of(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, Batch | Table):
        return given.dicts()
    if isinstance(given, LineDelta):
        with contextlib.suppress(orjson.JSONDecodeError):
            return [row for line in given.data.splitlines() if isinstance(row := orjson.loads(line), dict)]
    return []


def _shifted(row: dict[str, Any], by: int) -> dict[str, Any]:
    """The row with its numbers larger, so that not all records are the same."""
    return {key: value + by if type(value) in (int, float) else value for key, value in row.items()}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _fields(text: str) -> list[str]:
    if all(part.isidentifier() for part in text.split(".")):
        return [text]
    for read in (parse, _aggregated):
        try:
            found = read(text)
        except RxpipeError:
            continue
        if found is not None:
            return [name for name in found.names if name.isidentifier()]
    return []


def _aggregated(text: str) -> Expression | None:
    return parse_aggregation(text).expression


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in row.items():
        inner = made
        *path, last = name.split(".")
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner.get(part, {}), dict) else {}
        inner.setdefault(last, value)
    return made


def _file_event(number: int) -> Sample:
    """File `a` is written by each even number, each odd one has a file of its own."""

    def make(_: Flow) -> FileEvent:
        path = Path("a" if number % 2 == 0 else f"b{number}").absolute()
        old = _state(path)
        with path.open("ab") as file:
            file.write(f'{{"value":{number}}}\n'.encode())
        return FileEvent("modify" if old else "create", str(path), old, _state(path))

    return make


def _state(path: Path) -> FileState | None:
    if not path.exists():
        return None
    found = path.stat()
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _lines(start: int, data: bytes) -> Sample:
    def make(flow: Flow) -> LineDelta:
        end = start + len(data)
        return LineDelta("a", "a", start, end, data, Lease(flow, len(data), "a", start, end))

    return make


def described_parameters(doc: str) -> dict[str, str]:
    """The names under `Args:` with their descriptions."""
    found: dict[str, str] = {}
    inside = False
    for line in inspect.cleandoc(doc).splitlines():
        if not line.startswith(" "):
            inside = line == "Args:" or (inside and not line)
            continue
        name, colon, text = line.strip().partition(": ")
        if inside and line.startswith("    ") and not line.startswith("     ") and colon:
            found[name.lstrip("*")] = text
    return found
