"""Add computed fields to records."""

from __future__ import annotations

from reactivex import Observable

from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.rows import deriving
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr


@operator
def derive(source: Observable[Records], /, **columns: Expr) -> Observable[Records]:
    """Add fields to each record, computed from its others.

    A field that exists is replaced; a later field may use an earlier one. The record that came in is not changed:
    others may read it. Of a table, the fields are computed when it is read. A record for which an expression fails goes
    to `errors`. Completion and errors pass through; nothing is held back.

        source                 -a-|
        derive(double="n * 2") -b-|
        a: {"n": 2}
        b: {"n": 2, "double": 4}

    Args:
        columns: Each field's name and expression.

    Example:
        >>> rx.of(Batch([{"tokens": 2000}])).pipe(derive(cost="tokens * 3e-6")).run()
        Batch([{'tokens': 2000, 'cost': 0.006}])
    """
    compute = deriving({name: parse(text) for name, text in columns.items()})
    return lift(source, lambda _: compute)


@fields_of(derive)
def _fields(known: KnownFields, /, **columns: str) -> KnownFields:
    for name, text in columns.items():
        known.check(text, name)
        known = known.plus(name)
    return known
