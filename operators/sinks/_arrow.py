"""Records as Arrow tables: the schema of a type of rows or of the first records, and what does not fit it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, get_args, get_origin

import orjson

from rxpipe.elements import Row, as_dict
from rxpipe.expressions.fields import field_types, members
from rxpipe.operators.sinks._records import OPTION, as_record, plain

Record = dict[str, Any]
Reject = Callable[[Row, Exception], None]


class Arrow:
    """Makes tables of one schema.

    Args:
        pyarrow: The package.
        schema: The schema; None takes that of the first records.
    """

    def __init__(self, pyarrow: Any, schema: Any = None) -> None:
        self._pyarrow = pyarrow
        self.schema = schema

    def table(self, rows: list[Row], reject: Reject) -> Any:
        """The rows that fit, as a table; None if there is none."""
        records = []
        for row in rows:
            try:
                records.append((row, _record(row)))
            except (TypeError, ValueError) as error:
                reject(row, error)
        if self.schema is None and records:
            self.schema = self._schema_of(*records[0], [record for _, record in records])
        try:
            return self._made([record for _, record in records]) if records else None
        except (self._pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            return self._one_by_one(records, reject)

    def _one_by_one(self, records: list[tuple[Row, Record]], reject: Reject) -> Any:
        fitting = []
        for row, record in records:
            try:
                fitting.append(self._made([record]))
            except (self._pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
                reject(row, error)
        return self._pyarrow.concat_tables(fitting) if fitting else None

    def _made(self, records: list[Record]) -> Any:
        """A table of records that all fit.

        Raises:
            ValueError: One has a field that is no column, or a value of another type; pyarrow raises others, too.
        """
        known = {*self.schema.names}
        for record in records:
            if not known.issuperset(record):
                other = next(name for name in record if name not in known)
                msg = f"the record must have no fields but the columns of the file; got {other!r}"
                raise ValueError(msg)
        arrays = [
            self._array(field, [_simple(field, record.get(field.name), self._pyarrow) for record in records])
            for field in self.schema
        ]
        return self._pyarrow.table(arrays, schema=self.schema)

    def _array(self, field: Any, values: list[Any]) -> Any:
        try:
            self._check(field.type, values)
            return self._pyarrow.array(values, field.type)
        except (self._pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
            msg = f"{field.name!r} must be of type {field.type}; {error}"
            raise ValueError(msg) from error

    def _check(self, kind: Any, values: list[Any]) -> None:
        """Refuse what pyarrow would cut to size, as 1.5 to 1.

        Raises:
            TypeError: A value is of another type.
        """
        types = self._pyarrow.types
        some = [value for value in values if value is not None]
        for is_kind, allowed in (
            (types.is_integer, {int}),
            (types.is_floating, {int, float}),
            (types.is_boolean, {bool}),
            (types.is_list, {list, tuple}),
            (types.is_date, {date}),
            (types.is_timestamp, {datetime}),
            (types.is_time, {time}),
        ):
            if is_kind(kind) and not allowed.issuperset(map(type, some)):
                other = next(value for value in some if type(value) not in allowed)
                msg = f"got {other!r:.80}"
                raise TypeError(msg)
        if types.is_list(kind):
            self._check(kind.value_type, [inner for value in some for inner in value])

    def _schema_of(self, row: Row, first: Record, records: list[Record]) -> Any:
        declared = {} if isinstance(row, dict) else field_types(type(as_record(row)))
        names = dict.fromkeys(first) | dict.fromkeys(name for record in records for name in record)
        fields = []
        for name in names:
            kind = self._declared(declared[name]) if name in declared else None
            values = [record[name] for record in records if record.get(name) is not None]
            fields.append((name, kind or self._inferred(values)))
        return self._pyarrow.schema(fields)

    def _declared(self, hint: Any) -> Any:
        """The type of a column that is declared; None if that says nothing."""
        arrow = self._pyarrow
        kinds = {
            bool: arrow.bool_(),
            int: arrow.int64(),
            float: arrow.float64(),
            str: arrow.string(),
            bytes: arrow.binary(),
            datetime: arrow.timestamp("us", "UTC"),
            date: arrow.date32(),
            time: arrow.time64("us"),
        }
        found = members(hint) - {type(None)}
        if found == {int, float}:
            return arrow.float64()
        if len(found) != 1:
            return None
        (kind,) = found
        inner = self._declared(get_args(kind)[0]) if get_origin(kind) is list and get_args(kind) else None
        return kinds.get(kind) if inner is None else arrow.list_(inner)

    def _inferred(self, values: list[Any]) -> Any:
        """The type of all values, else of the first; texts where that is unknown."""
        arrow = self._pyarrow
        for some in (values, values[:1]):
            try:
                found = arrow.infer_type(some)
            except (arrow.ArrowException, TypeError, ValueError, OverflowError):
                continue
            if found == arrow.timestamp("us"):
                return arrow.timestamp("us", "UTC")
            if not arrow.types.is_null(found) and not arrow.types.is_nested(found):
                return found
            if arrow.types.is_list(found) and not arrow.types.is_nested(found.value_type):
                return arrow.string() if arrow.types.is_null(found.value_type) else found
        return arrow.string()


def _record(row: Row) -> Record:
    record = as_record(row)
    return {str(name): value for name, value in as_dict(record).items()}


def _simple(field: Any, value: Any, pyarrow: Any) -> Any:
    """A value that a column of texts holds as JSON: a mapping, a list, or what else is no text.

    Raises:
        TypeError: It is a number or a truth value, which is another type.
    """
    if value is None or isinstance(value, str) or field.type != pyarrow.string():
        return value
    if isinstance(value, bool | int | float):
        msg = f"{field.name!r} must be of type string; got {value!r}"
        raise TypeError(msg)
    return orjson.dumps(value, default=plain, option=OPTION).decode()
