"""Make records of chosen fields only."""

from __future__ import annotations

from reactivex import Observable

from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.rows import deriving
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr


@operator
def select(source: Observable[Records], /, fields: list[str] | None = None, **columns: Expr) -> Observable[Records]:
    """Make each record anew of the fields named and of computed ones.

    Of a table, the rows are made when it is read. A record for which an expression fails goes to `errors`. Completion
    and errors pass through; nothing is held back.

        source                               -a-|
        select(["model"], double="n * 2")    -b-|
        a: {"model": "m", "n": 2, "other": 0}
        b: {"model": "m", "double": 4}

    Args:
        fields: Fields to keep as they are.
        columns: Fields to compute: each one's name and expression.

    Example:
        >>> rx.of(Batch([{"a": 1, "b": 2}])).pipe(select(["b"], c="a + b")).run()
        Batch([{'b': 2, 'c': 3}])
    """
    chosen = {name: parse(name) for name in fields or []} | {name: parse(text) for name, text in columns.items()}
    compute = deriving(chosen, only=True)
    return lift(source, lambda _: compute)


@fields_of(select)
def _fields(known: KnownFields, /, fields: list[str] | None, **columns: str) -> KnownFields:
    chosen = fields or []
    for index, name in enumerate(chosen):
        known.check(name, "fields", index)
    for name, text in columns.items():
        known.check(text, name)
        known = known.plus(name)
    return known.only(*chosen, *columns)
