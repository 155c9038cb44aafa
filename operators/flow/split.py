"""Parts of a stream, told apart by conditions."""

from __future__ import annotations

import ast
from typing import Annotated

from reactivex import Observable

from rxpipe.elements import Batch, Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.operator import Outputs, fields_of, operator
from rxpipe.operators.flow._parts import parted
from rxpipe.parameters.types import Expr


@operator
def split(source: Observable[Batch], /, **conditions: Annotated[Expr, Outputs(Batch)]) -> Observable[Batch]:
    """Send each record to the first output whose condition is true; all others go on in the stream.

    Another stream reads an output by `from: STREAM.OUTPUT`. A record is in one part and no other: conditions are asked
    in the order they are written in. (Where the value of a field names the output, use `route`. For copies to everyone
    who wants them, let each stream read this one and filter with `where`.) Retracted records follow the records they
    take back. A record for which a condition fails goes to `errors`. Completion and errors pass through, to the outputs
    too; nothing is held back.

        source                      -a-b-b-a-|
        split(high="value > 1")     -a-----a-|
        .high                       ---b-b---|
        a: {"value": 1}
        b: {"value": 2}

    Args:
        conditions: The condition of each output, by its name.

    Example:
        >>> rows = [{"ms": 4}, {"ms": 4000}, {"ms": 70}]
        >>> rx.of(Batch(rows)).pipe(with_outputs(split(slow="ms > 1000", fair="ms > 50"), slow=print)).run()
        Batch([{'ms': 4000}])
        Batch([{'ms': 4}])

    Raises:
        ParameterError: There is no condition.
    """
    if not conditions:
        problem = ParameterProblem(
            (), "at least one output must be given, as in errors: \"level == 'ERROR'\"; got none"
        )
        raise ParameterError("split", [problem])
    number_of = compile_values([_first_true([parse(text) for text in conditions.values()])])
    places: list[tuple[int, ...]] = [*((number,) for number in range(len(conditions))), ()]

    def choose(rows: list[Row], reject: Reject) -> tuple[list[Row], list[tuple[int, ...]]]:
        kept, numbers = number_of(rows, reject)
        return kept, [places[number] for number in numbers]

    return parted(source, [*conditions], choose)


@fields_of(split)
def _fields(known: KnownFields, /, **conditions: str) -> KnownFields:
    for name, condition in conditions.items():
        known.check(condition, name)
    return known.beside(**dict.fromkeys(conditions, known))


def _first_true(conditions: list[Expression]) -> Expression:
    """One expression for the number of the first condition that is true; without any, how many there are."""
    tree: ast.expr = ast.Constant(len(conditions))
    for number, condition in reversed([*enumerate(conditions)]):
        tree = ast.IfExp(condition.tree, ast.Constant(number), tree)
    text = " | ".join(condition.text for condition in conditions)
    return Expression(text, frozenset[str]().union(*(condition.names for condition in conditions)), tree)
