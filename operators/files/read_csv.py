"""The records of a CSV file."""

from __future__ import annotations

from typing import Annotated

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.casting import CastType
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.operator import operator
from rxpipe.operators.files._csv import require_form
from rxpipe.operators.files._csvreader import CsvForm, CsvReader
from rxpipe.operators.files._paths import expanded
from rxpipe.operators.files._rounds import Rounds
from rxpipe.parameters.types import Gt
from rxpipe.parameters.units import Duration, Size, nbytes, seconds


@operator
def read_csv(
    path: str,
    columns: list[str] | None = None,
    types: dict[str, CastType] = {},
    delimiter: str = ",",
    quote: str = '"',
    every: Annotated[Duration, Gt(0)] | None = None,
    max_record: Annotated[Size, Gt(0)] = "1MB",
) -> Observable[Batch]:
    r"""Read a CSV file and emit its records in batches, each once, quoted line breaks and all.

    A record is a dict with the columns as its fields, texts unless `types` says otherwise; an empty field of another
    type is null. The file is UTF-8, with or without a byte order mark; empty lines are passed over. What has another
    number of fields, something between a quote that closes and the next delimiter, or a field of another type or of
    more than 128 KiB goes to `errors` with its byte range, and harms no other record. A quote means something only at
    the beginning of a field (`5" pipe` is a text); where it is never closed, the line goes to `errors` and reading goes
    on at the next one. For lines of CSV among others, or files that come and go, take `read_lines` and `parse_csv`,
    where each line is a record.

    Completes at the end of the file, where a last record needs no line break; with `every` it looks again for what was
    added, until the run drains. What was read is saved: a restart goes on behind it, so that a file that grew gives its
    new records only. A file that was replaced, shortened or changed is read anew. One that cannot be read goes to
    `errors`, once, and is tried again in the next round.

    Args:
        path: The file; `~` is expanded.
        columns: The names of the columns; by default the first record has them.
        types: What columns are converted to: int, float, number, bool (true, false, 1, 0), timestamp or str.
        delimiter: The character between fields.
        quote: The character around fields that have delimiters, quotes or line breaks in them.
        every: The time between two looks; one by default, and in a run that reads once.
        max_record: The most bytes of one record, and how far the end of a quote is looked for; a line at which a longer
            one begins goes to `errors`, and reading goes on at the next line. With `every` so much must have been
            written behind a quote until it counts as never closed.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.csv").write_text('name,n\n"Lee, Ann",5\n')
        >>> read_csv("a.csv", types={"n": "int"}).run()
        Batch([{'name': 'Lee, Ann', 'n': 5}])

    State: the offset behind the last record emitted, and how to know the file again.
    """
    require_form("read_csv", delimiter, quote, columns, types)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        form = CsvForm(delimiter, quote, columns, types)
        follow = every is not None and not context.once
        reader = CsvReader(observer, context, expanded(path), form, nbytes(max_record), follow=follow)
        pause = None if every is None else seconds(every)
        return Rounds(
            context,
            scheduler,
            reader.fetch,
            reader.emit,
            lambda _: observer.on_completed(),
            every=pause,
            close=reader.close,
        ).start()

    return Observable(subscribe)
