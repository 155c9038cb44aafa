"""Live tables on a terminal, final tables as text, or one JSON object for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar
from zoneinfo import ZoneInfo

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.errors import ParameterError, ParameterProblem, did_you_mean, nearest
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._show import Show
from rxpipe.promises import Inflow, Lint, lints_of
from rxpipe.views.document import RECORDS, Part, check_document, columns_of

T = TypeVar("T")


@operator
def to_terminal(
    source: Observable[T],
    panels: list[Panel] | None = None,
    document: dict[str, Part] | None = None,
    title: str = "",
    timezone: str = "",
) -> Observable[T]:
    """Show tables on a terminal while they change, and print them when the stream completes.

    The latest table of each name is kept, the name being the stream that it comes from; merge several streams to show
    them together. Records that come in batches are the table `records`, of which the last 1,000 are kept. Elements are
    passed on at once. What happens depends on where the output goes:

    - terminal: a full screen, drawn anew when a table came (at most every 50 ms: put `throttle` before this step),
      every 1.3 s while the run's figures move, and every 30 s otherwise. It fits 80 by 24 and uses more; a table that
      has no room for all its rows says `2 of 9`. At the end the terminal is given back as it was, and the final tables
      are printed.
    - terminal without cursor codes (`NO_COLOR`, `TERM=dumb`): nothing while a backlog is read; then the tables as text,
      again when they changed, at most every 10 s; and at the end, if they differ from those printed last.
    - no terminal: the final tables as plain text, when the stream completes; nothing before.
    - `--json`: the document, one JSON object, when the stream completes; nothing else.

    A stream that ends in an error, or is unsubscribed, prints no final tables. Outside a command line nothing is
    printed.

        source           -a-b-|
        to_terminal()    -a-b-|

    Args:
        panels: What to show of which table, see below; by default each table that comes, with all its columns.
        document: The entries of the JSON object, see below; by default all rows of all tables.
        title: The screen's heading; the graph's name by default.
        timezone: The zone in which times and dates are shown; the system's by default.

    A panel: `table`; `title`; `kind` (`table`, `figures`: labels and values of the first row, `line`: the same in one
    line); `columns`, a mapping of headers to columns, expressions, or `{field, to, format, width, unit, priority}`
    (`to`: a second value, for a span); `where`; `sort` (`-cost`: largest first); `limit`; `total`, the label of a
    line of sums; `size` (`wide`, `narrow`: half as much); `priority`: what a small screen keeps; `empty`, shown
    without rows (a table without rows and without that is left out). Formats: int, si, usd, percent, size, duration,
    time, date, text, bar (in a table of the column's largest value, in figures of 1).

    An entry of the document: `table`; `form` (`rows`, `first`, `list`, `value`); `columns`, names or a mapping of names
    to expressions; `column` for list and value; `where`, `sort`, `limit`; `default` where there is no row; `nest`,
    further entries inside each object, with `on`, the columns in which both tables agree.

    Example:
        >>> import reactivex as rx
        >>> rx.of(1, 2).pipe(to_terminal()).run()
        2

    Delivery: shown: nothing is kept of it; it is the present state, and a restart shows it again.
    """
    zone = _zone(timezone)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        show = Show(context, scheduler, panels or [], document, title, zone)

        def on_next(element: T) -> None:
            show.take(element)
            observer.on_next(element)

        def on_completed() -> None:
            show.finish()
            observer.on_completed()

        def on_error(error: Exception) -> None:
            show.close()
            observer.on_error(error)

        show.begin()
        try:
            upstream = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
        except BaseException:
            show.close()
            raise
        return CompositeDisposable(upstream, Disposable(show.close))

    return Observable(subscribe)


@fields_of(to_terminal)
def _fields(
    known: KnownFields, /, panels: list[Panel] | None, document: dict[str, Part] | None, **_: object
) -> KnownFields:
    for index, panel in enumerate(panels or []):
        panel.check(columns_of(known, panel.table), "panels", index)
    check_document(known, document or {}, "document")
    return known


@lints_of(to_terminal)
def _lints(
    inflow: Inflow, /, panels: list[Panel] | None, document: dict[str, Part] | None, **_: object
) -> Iterator[Lint]:
    there = (*inflow.streams, RECORDS)
    named = [(("panels", index, "table"), panel.table) for index, panel in enumerate(panels or [])]
    for path, table in (*named, *_named(("document",), document or {})):
        if table not in there:
            guess = did_you_mean(nearest(table, there))
            yield Lint("empty", f"no stream is called {table!r}, so that nothing is ever shown of it{guess}", path)


def _named(path: tuple[str | int, ...], parts: Mapping[str, Part]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The tables that the entries of a document name, and where."""
    for name, part in parts.items():
        yield (*path, name, "table"), part.table
        yield from _named((*path, name, "nest"), part.nest)


def _zone(name: str) -> ZoneInfo | None:
    if not name or name == "local":
        return None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        from zoneinfo import available_timezones  # only for the message

        guess = did_you_mean(nearest(name, available_timezones()))
        message = f"must be an IANA name such as 'Europe/Berlin', or empty; got {name!r}{guess}"
        step = "to_terminal"
        raise ParameterError(step, [ParameterProblem(("timezone",), message)]) from error
