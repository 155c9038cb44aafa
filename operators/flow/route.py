"""Parts of a stream, told apart by a value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from reactivex import Observable

from rxpipe.elements import Batch, Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.operator import Outputs, fields_of, operator
from rxpipe.operators.flow._parts import parted
from rxpipe.parameters.types import Expr


@operator
def route(
    source: Observable[Batch],
    by: Expr,
    to: Annotated[list[str] | dict[str, str | int | bool | list[str | int | bool]], Outputs(Batch)],
) -> Observable[Batch]:
    """Send each record to the output that a value of its own names; a list of values sends it to each of theirs.

    Another stream reads an output by `from: STREAM.OUTPUT`. Records whose value belongs to no output go on in the
    stream. (`split` tells parts by conditions, and puts each record into one; `route` looks at one value, and copies a
    record whose value is a list, such as its tags, to every output named there.) Retracted records follow the records
    they take back. A record for which the expression fails goes to `errors`. Completion and errors pass through, to the
    outputs too; nothing is held back.

        source                       -a-b-c-a-|
        route("zone", to=["eu"])     ---b-----|
        .eu                          -a---c-a-|
        a: {"zone": "eu"}
        b: {"zone": "us"}
        c: {"zone": ["us", "eu"]}

    Args:
        by: An expression for the value.
        to: The names of the outputs, each taking the value of that name; or for each name the value or values it takes.

    Example:
        >>> rows = [{"level": "WARN"}, {"level": "INFO"}, {"level": "ERROR"}]
        >>> severe = route("level", to={"severe": ["ERROR", "WARN"]})
        >>> rx.of(Batch(rows)).pipe(with_outputs(severe, severe=print)).run()
        Batch([{'level': 'WARN'}, {'level': 'ERROR'}])
        Batch([{'level': 'INFO'}])

    Raises:
        ParameterError: There is no output, one is named twice, or two take the same value.
    """
    names = [*to]
    places: dict[Any, tuple[int, ...]] = {}
    for number, (name, value) in enumerate(zip(names, to.values() if isinstance(to, dict) else names, strict=True)):
        for each in value if isinstance(value, list) else [value]:
            if _key(each) in places:
                message = f"each value must belong to one output; got {each!r} again for {name!r}"
                raise ParameterError("route", [ParameterProblem(("to",), message)])
            places[_key(each)] = (number,)
    if not places:
        raise ParameterError("route", [ParameterProblem(("to",), "an output must be named; got none")])
    values_of = compile_values([parse(by)])

    def place(value: Any) -> tuple[int, ...]:
        if isinstance(value, list | tuple):
            return tuple(sorted({number for each in value for number in place_of(each)}))
        return place_of(value)

    def place_of(value: Any) -> tuple[int, ...]:
        return places.get(_key(value), ()) if isinstance(value, str | int) else ()

    def choose(rows: list[Row], reject: Reject) -> tuple[list[Row], list[tuple[int, ...]]]:
        kept, values = values_of(rows, reject)
        return kept, [place(value) for value in values]

    return parted(source, names, choose)


@fields_of(route)
def _fields(known: KnownFields, /, by: str, to: Iterable[str]) -> KnownFields:
    known.check(by, "by")
    return known.beside(**dict.fromkeys(to, known))


def _key(value: str | int) -> Any:
    """What a value is looked up by: true and 1 are two values."""
    return (value,) if isinstance(value, bool) else value
