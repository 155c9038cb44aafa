"""Lines of CSV into batches of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.casting import CastType
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, LineDelta, OriginGone, Row
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.files._csv import column_names, require_form, rows_of
from rxpipe.operators.records._lines import BOM, parsed


@operator
def parse_csv(
    source: Observable[LineDelta],
    columns: list[str] | None = None,
    types: dict[str, CastType] = {},
    delimiter: str = ",",
    quote: str = '"',
) -> Observable[Batch]:
    r"""Turn blocks of CSV lines into batches of records, one batch a block, each line a record.

    A record is a dict with the columns as its fields, texts unless `types` says otherwise; see `cast`. Without
    `columns` the first line of each file names them. A line with another number of fields, a quote where none can be,
    or a field of another type goes to `errors` with its path and byte range; the lines around it are not harmed. So
    does the line at which a quoted field begins that goes on in the next, which counts as a line of its own: where
    fields have line breaks in them, take `read_csv`.
    Empty lines, a byte order mark at the start of a file, and an unfinished last line that is no record yet (see
    `read_lines`) are passed over. Completion and errors pass through; nothing is held back.

    Args:
        columns: The names of the columns; by default the first line of a file has them.
        types: What columns are converted to: int, float, number, bool, timestamp or str.
        delimiter: The character between fields.
        quote: The character around fields that have delimiters or quotes in them.

    Example:
        >>> lines = LineDelta("a.csv", "1", 0, 23, b'name,n\n"Lee, Ann",5\n\n\n\n')
        >>> rx.of(lines).pipe(parse_csv(types={"n": "int"})).run()
        Batch([{'name': 'Lee, Ann', 'n': 5}])

    State: the names of the columns of each file, where the files have them.
    """
    require_form("parse_csv", delimiter, quote, columns, types)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        headers = _Headers(context) if columns is None else None

        def parse(block: LineDelta) -> Batch | None:
            names, skip = (columns, 0) if headers is None else headers.of(block, delimiter, quote, types)
            if names is None:
                return None

            def rows(data: bytes) -> list[Row]:
                return rows_of(data, names, types, delimiter, quote)

            return parsed(block, rows, context, skip=skip)

        def on_next(element: Any) -> None:
            if isinstance(element, OriginGone) and headers is not None:
                headers.forget(element.path)
            made = parse(element) if isinstance(element, LineDelta) else element
            if made is not None:
                observer.on_next(made)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(parse_csv)
def _fields(known: KnownFields, /, columns: list[str] | None, **_: object) -> KnownFields:
    return known.unknown() if columns is None else known.only(*columns)


class _Headers:
    """The names of the columns of each file; None for a file whose first line names none."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._names: dict[str, tuple[str, list[str] | None]] = {}
        self._dirty: dict[str, None] = {}
        saved = context.state("operator", self._changes, "names of columns by file")
        for file, _, value in saved.items():
            path, names = unpack(value)
            self._names[file.decode()] = (path, names)

    def _changes(self) -> Iterable[Change]:
        for file in self._dirty:
            yield file.encode(), "", pack([*self._names[file]]) if file in self._names else None
        self._dirty.clear()

    def of(self, block: LineDelta, delimiter: str, quote: str, types: Iterable[str]) -> tuple[list[str] | None, int]:
        """The names for a block, and how many bytes of it have told them."""
        skip = 0
        if block.start == 0:
            line, _, _ = block.data.partition(b"\n")
            skip = min(len(line) + 1, len(block.data))
            self._read(block, line, delimiter, quote, types)
        _, names = self._names.get(block.file) or self._at(block.path)
        if names is None and skip < len(block.data):
            reason = "no line can be read: the first line of the file did not name the columns; give 'columns'"
            self._reject(block, block.start + skip, block.end, reason)
        return names, skip

    def _at(self, path: str) -> tuple[str, list[str] | None]:
        """The names of the file at a path, for lines that come without the file's identity: those sent again."""
        return next((known for known in self._names.values() if known[0] == path), ("", None))

    def _read(self, block: LineDelta, line: bytes, delimiter: str, quote: str, types: Iterable[str]) -> None:
        names = None
        try:
            names = column_names(line.removeprefix(BOM).removesuffix(b"\r"), delimiter, quote, types)
        except ValueError as error:
            self._reject(block, 0, len(line), f"must be the names of the columns: {error}")
        self._names[block.file] = (block.path, names)
        self._dirty[block.file] = None

    def _reject(self, block: LineDelta, start: int, end: int, reason: str) -> None:
        leases = () if block.lease is None else (block.lease,)
        record = block.data[start - block.start : end - block.start]
        self._context.reject(reason, record, leases=leases, path=block.path, start=start, end=end)

    def forget(self, path: str) -> None:
        """The file at a path is gone."""
        for file in [file for file, (own, _) in self._names.items() if own == path]:
            del self._names[file]
            self._dirty[file] = None
