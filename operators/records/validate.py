"""Send records that break a rule to the errors stream."""

from __future__ import annotations

from reactivex import Observable

from rxpipe.elements import Row
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, Reject, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import Fusible, ValuesFunction, compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr


class BrokenRuleError(ValueError):
    """A record breaks a rule."""


@operator
def validate(source: Observable[Records], /, **rules: Expr) -> Observable[Records]:
    """Let the records through that fulfil all rules; the others go to `errors` with the name of the rule they break.

    A rule is a condition over the record's fields; it is broken where it is false, null, or cannot be computed.
    Retracted records that broke a rule never got through, and are dropped. Completion and errors pass through; nothing
    is held back.

    Args:
        rules: Each rule's name and condition.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": -1}])).pipe(validate(positive="n > 0")).run()
        Batch([{'n': 1}])
    """
    expressions = {name: parse(text) for name, text in rules.items()}
    checks = [(f"rule {name!r} ({made.text})", compile_values([made])) for name, made in expressions.items()]

    def validated(rows: list[Row], reject: Reject) -> list[Row]:
        for rule, check in checks:
            rows = _fulfilling(rows, rule, check, reject)
        return rows

    def write(loop: Loop) -> None:
        broken = loop.keep(BrokenRuleError)
        for expression in expressions.values():
            loop.line(f"if not {loop.value(expression).text}: raise {broken}")

    step = Fusible(validated, write)
    return lift(source, lambda _: step)


@fields_of(validate)
def _fields(known: KnownFields, /, **rules: str) -> KnownFields:
    for name, text in rules.items():
        known.check(text, name)
    return known


def _fulfilling(rows: list[Row], rule: str, check: ValuesFunction, reject: Reject) -> list[Row]:
    """The rows that fulfil one rule; the others are rejected."""

    def broken(row: Row, error: Exception) -> None:
        reject(row, BrokenRuleError(f"{rule} cannot be computed: {error}"))

    kept, results = check(rows, broken)
    if all(results):
        return kept
    fulfilling = []
    for row, result in zip(kept, results, strict=True):
        if result:
            fulfilling.append(row)
        else:
            reject(row, BrokenRuleError(f"{rule} is not fulfilled"))
    return fulfilling
