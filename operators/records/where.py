"""Keep the records that fulfil a condition."""

from __future__ import annotations

from reactivex import Observable

from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.rows import filtering
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr


@operator
def where(source: Observable[Records], condition: Expr) -> Observable[Records]:
    """Keep the records for which the condition is true.

    Batches that become empty are dropped. Of a table, the rows are chosen when it is read. A record for which the
    condition fails goes to `errors`. Completion and errors pass through; nothing is held back.

        source                      -a-b-a-|
        where("level != 'DEBUG'")   -a---a-|
        a: {"level": "INFO"}
        b: {"level": "DEBUG"}

    Args:
        condition: An expression over the fields of a record.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": 5}])).pipe(where("n > 2")).run()
        Batch([{'n': 5}])
    """
    keep = filtering(parse(condition))
    return lift(source, lambda _: keep)


@fields_of(where)
def _fields(known: KnownFields, /, condition: str) -> KnownFields:
    known.check(condition, "condition")
    return known
