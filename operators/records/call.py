"""Pass each record through a Python function."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row, as_dict
from rxpipe.fusion.lift import Records, Reject, RowsFunction, lift
from rxpipe.operator import operator
from rxpipe.parameters.calls import Function, function_named, records_made


@runtime_checkable
class RecordFunction(Protocol):
    """A function of a record; a protocol, for mypy gives up on overloads, as `operator` has, where it sees `Any`."""

    def __call__(self, record: dict[str, Any], /) -> Any:
        """What becomes of the record."""


@operator
def call(source: Observable[Records], function: Function[RecordFunction]) -> Observable[Records]:
    """Replace each record by what a Python function makes of it.

    The function takes the record as a dict of its own and returns a dict, a list of dicts, or None to drop the record.
    It must give the same for the same record: retracted records pass through it too. A record for which it raises, or
    returns something else, goes to `errors`. Of a table, the function is called when the table is read. The call blocks
    the dataflow; it is meant for quick functions. Completion and errors pass through; nothing is held back.

    Args:
        function: `module:name`, whose module a check of the graph imports, or in Python the function itself.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(call(lambda record: {"n": record["n"] * 10})).run()
        Batch([{'n': 10}, {'n': 20}])

    Raises:
        RxpipeError: There is no such function.
    """
    found = function_named(function)

    def make(_: Context) -> RowsFunction:
        def called(rows: list[Row], reject: Reject) -> list[Row]:
            made: list[Row] = []
            for row in rows:
                try:
                    made.extend(records_made(found(as_dict(row))))
                except Exception as error:  # whatever a user's function raises concerns this record only
                    reject(row, error)
            return made

        return called

    return lift(source, make)
