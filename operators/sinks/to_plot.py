"""A picture of the latest rows, drawn anew on a schedule."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import MinLen
from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Context, current
from rxpipe.elements import Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.extras import extra
from rxpipe.operator import operator
from rxpipe.operators.sinks._figure import Look, draw
from rxpipe.operators.sinks._records import records_of
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

    Of a retracted record nothing is taken back. If the file cannot be written the log says so, the run is degraded, and
    the next picture is tried in its turn.

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
        raise ParameterError("to_plot", [problem])  # noqa: EM101  # a name, no message
    alone = y[0] if len(y) == 1 else ""
    labels = x_label if x_label is not None else x or "", y_label if y_label is not None else alone
    look = Look(kind, x, y, by, title, *labels, (width, height))

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        plot = _Plot(current(), scheduler, observer, look, file, seconds(every), last)
        try:
            upstream = source.subscribe(plot.take, observer.on_error, plot.complete, scheduler=scheduler)
        except BaseException:
            plot.close()
            raise
        return CompositeDisposable(upstream, Disposable(plot.close))

    return Observable(subscribe)


class _Plot:
    """The picture of one subscription."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        look: Look,
        path: Path,
        every: float,
        last: int,
    ) -> None:
        extra("matplotlib", "plot", context.name)
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._observer = observer
        self._look = look
        self._path = path
        self._every = every
        self._records: deque[Row] = deque(maxlen=last)
        self._table: Table | None = None
        self._timer = SerialDisposable()
        self._waiting = self._drawing = self._changed = self._completed = self._closed = False
        self._failure: str | None = None
        context.describe("degraded", lambda: self._failure)
        context.written.add(path)

    def take(self, element: Any) -> None:
        """Remember what an element says."""
        if isinstance(element, Table):
            self._table = element
        else:
            self._records.extend(records_of(element)[1])
        self._changed = True
        self._wait()
        self._observer.on_next(element)

    def complete(self) -> None:
        """Draw the last picture, then pass the completion on."""
        self._completed = True
        self._timer.dispose()
        if not self._drawing:
            self._draw()

    def close(self) -> None:
        """Draw no more."""
        self._closed = True
        self._timer.dispose()
        self._records.clear()
        self._table = None

    def _wait(self) -> None:
        if not (self._waiting or self._drawing or self._completed):
            self._waiting = True
            self._timer.disposable = self._scheduler.schedule_relative(self._every, lambda *_: self._draw())

    def _draw(self) -> None:
        """Have the rows drawn in a thread, as they are now."""
        self._waiting, self._changed, self._drawing = False, False, True
        rows = [*self._records] if self._table is None else [*self._table.rows()]
        drawn = self._context.executor().submit(draw, self._look, rows, self._path)
        drawn.add_done_callback(lambda done: self._post(lambda: self._drawn(done)))

    def _drawn(self, done: Future[None]) -> None:
        self._drawing = False
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if isinstance(error, OSError):
            if self._failure is None:
                logger.warning("{}: cannot draw, trying again with the next picture: {}", self._context.name, error)
            self._failure = f"{type(error).__name__}: {error}"
            self._changed = True
        elif error is not None:
            raise error
        else:
            self._failure = None
        if self._completed:
            self._finish()
        elif self._changed:
            self._wait()

    def _finish(self) -> None:
        """All is drawn, if the picture was begun when all had come; one that cannot be drawn ends nothing."""
        if self._changed and self._failure is None:
            self._draw()
        else:
            self._observer.on_completed()
