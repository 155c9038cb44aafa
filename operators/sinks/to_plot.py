"""A picture of the latest rows, drawn anew on a schedule."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import MinLen
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions.known import KnownFields
from rxpipe.extras import extra
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._figure import Look, draw
from rxpipe.operators.sinks._records import records_of
from rxpipe.operators.sinks._renewed import Renewed
from rxpipe.parameters.types import Expr, Ge, Gt
from rxpipe.parameters.units import Duration, seconds
from rxpipe.table import Table

T = TypeVar("T")
Pixels = Annotated[int, Ge(200)]


@operator
def to_plot(
    source: Observable[T],
    path: str,
    y: Annotated[list[Expr], MinLen(1)],
    x: Expr | None = None,
    by: Expr | None = None,
    kind: Literal["line", "bar"] = "line",
    every: Annotated[Duration, Gt(0)] = "10s",
    last: Annotated[int, Ge(1)] = 1000,
    title: str = "",
    x_label: str | None = None,
    y_label: str | None = None,
    width: Pixels = 1280,
    height: Pixels = 720,
) -> Observable[T]:
    """Draw the latest rows as lines or bars into a PNG or SVG file, anew while they change, and pass each element on.

    Drawn are the rows of the table that came last, or else the last records. The file is replaced as a whole, so that
    whoever looks at it sees a whole picture: first `every` after the first element, then at most that often, when
    something came; and when the stream completes, which waits for it. It is drawn in the threads of the run. A value
    that is no number, or cannot be computed, is a gap; a row without `x` is left out. Where nothing is below 0 the axis
    begins there. An error passes at once, and draws no picture.

    The file is private to the user (0600) with its folder, or has the mode of the one that it replaces. Of a retracted
    record nothing is taken back. If the file cannot be written for a reason that may pass, the log says so, the run is
    degraded, and the next picture is tried in its turn, unless `on_error` says otherwise.

    Args:
        path: The file, with its folder: `.png` or `.svg`; `~` is the user's home.
        y: What is drawn: columns or expressions over them, each a line or a set of bars.
        x: The column or expression of the horizontal axis: numbers, times or texts; by default the number of the row.
        by: A column or expression whose values are lines, or sets of bars, of their own.
        kind: `line` or `bar`.
        every: How often it is drawn.
        last: How many records are kept, where there is no table.
        title: The heading.
        x_label: What the horizontal axis says, with the unit, as `time (UTC)`; `x` by default.
        y_label: What the vertical axis says, with the unit; the first of `y` by default, if it is the only one.
        width: How wide the picture is, in pixels.
        height: How high it is.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "load.svg")
        >>> batch = Batch([{"hour": 1, "load": 0.5}, {"hour": 2, "load": 0.8}])
        >>> _ = rx.of(batch).pipe(to_plot(str(file), y=["load"], x="hour", title="Load")).run()
        >>> "<svg" in file.read_text()
        True

    Raises:
        MissingExtraError: The package `matplotlib` is not installed: `pip install 'rxpipe-graphs[plot]'`.

    Delivery: shown: the picture is of what came since the run began.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".png", ".svg"):
        problem = ParameterProblem(("path",), f"must end in .png or .svg; got {path!r}")
        raise ParameterError("to_plot", [problem])
    alone = y[0] if len(y) == 1 else ""
    labels = x_label if x_label is not None else x or "", y_label if y_label is not None else alone
    look = Look(kind, x, y, by, title, *labels, (width, height))

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        extra("matplotlib", "plot", context.name)
        plot = _Plot(look, file, last)
        renewed = Renewed(context, scheduler, file, seconds(every), plot.prepare)

        def on_next(element: T) -> None:
            plot.take(element)
            renewed.change()
            observer.on_next(element)

        def on_completed() -> None:
            renewed.complete(observer.on_completed)

        try:
            upstream = source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)
        except BaseException:
            renewed.close()
            raise
        return CompositeDisposable(upstream, Disposable(renewed.close))

    return Observable(subscribe)


@fields_of(to_plot)
def _fields(known: KnownFields, /, y: list[str], x: str | None, by: str | None, **_: object) -> KnownFields:
    for index, text in enumerate(y):
        known.column(text, "y", index)
    for name, column in {"x": x, "by": by}.items():
        if column is not None:
            known.column(column, name)
    return known


class _Plot:
    """The rows that the picture of one subscription shows."""

    def __init__(self, look: Look, path: Path, last: int) -> None:
        self._look = look
        self._path = path
        self._records: deque[Row] = deque(maxlen=last)
        self._table: Table | None = None

    def take(self, element: Any) -> None:
        """Remember what an element says."""
        if isinstance(element, Table):
            self._table = element
        else:
            self._records.extend(records_of(element)[1])

    def prepare(self) -> Callable[[], None]:
        """What draws the rows as they are now."""
        rows = [*self._records] if self._table is None else [*self._table.rows()]
        return lambda: draw(self._look, rows, self._path)
