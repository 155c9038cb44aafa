"""How far a batch of tasks is, on a terminal, in the log, and in a file for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.operator import operator
from rxpipe.operators.tasks._looks import Looks

T = TypeVar("T")


@operator
def to_progress(source: Observable[T], of: str = "", file: str = "") -> Observable[T]:
    """Show how far the tasks of a run are, what they cost, and when they will be done.

    The figures come from the store of a step `tasks` in the same run, whatever flows through here: elements are passed
    on at once. The store is read every 1.33 s. What happens depends on where the output goes:

    - terminal: a full screen with a bar; the time left and an interval that holds it in nine of ten cases; how many
      tasks are in each state; cost so far and in the end; a line for each task that is worked on; the last errors. It
      fits 80 by 24 and uses more. At the end the terminal is given back, and the figures are printed.
    - no terminal, `NO_COLOR` or `TERM=dumb`, or no command line: a line in the log when the figures changed, at most
      every 10 s, and one at the end.

    How long the rest takes is computed of the tasks done lately and of those worked on, see `rxpipe.tasks.progress`;
    it is no shorter than the rates and quotas of each `limit` behind them allow, with what was charged so far.
    Where a few tasks take many times as long as the others the interval holds it in about three of four cases, and
    before one of these was met in fewer.
    What the rest costs is what those cost that are over. A graph with this step needs no `to_terminal`: there is one
    screen.

    Completes when the source has, and the last figures are shown; an error passes at once.

        source        -a-b-|
        to_progress() -a-b-|

    Args:
        of: The stream with the step `tasks`, where several have one.
        file: A file for programs: the same figures as one JSON object, written anew at each look, whole or not at all;
            by default that of `rxpipe run --progress-file`, if it was given.

    Example:
        >>> rx.of(1, 2).pipe(to_progress()).run()
        2

    Raises:
        RxpipeError: Several streams have tasks, and `of` names none of them.

    Delivery: shown: nothing is kept of it; it is the present state, and a restart shows it again.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        looks = Looks(current(), scheduler, of, Path(file).expanduser() if file else None)

        def on_error(error: Exception) -> None:
            looks.close()
            observer.on_error(error)

        looks.begin()
        try:
            upstream = source.subscribe(
                observer.on_next, on_error, lambda: looks.finish(observer.on_completed), scheduler=scheduler
            )
        except BaseException:
            looks.close()
            raise
        return CompositeDisposable(upstream, Disposable(looks.close))

    return Observable(subscribe)
