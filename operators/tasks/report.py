"""What became of a batch of tasks, as Markdown and JSON, and to a webhook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.operator import operator
from rxpipe.operators.tasks._reporting import Reporting
from rxpipe.parameters.plain import Checked

T = TypeVar("T")


def _address(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        msg = "must be an http or https address, or empty; got something else"  # which may be a secret
        raise ValueError(msg)
    return text


Address = Annotated[str, Checked(_address)]
"""Where HTTP requests go; empty for nowhere."""


@operator
def report(
    source: Observable[T], to: str = "report.md", json: str = "", webhook: Address = "", of: str = ""
) -> Observable[T]:
    """Report what became of the tasks of a run when they are over, or the run drains.

    Totals, success rate, the times of tasks with percentiles, cost, why tasks and attempts failed, by kind, and the
    slowest tasks: all from the store of a step `tasks` in the same run, over all runs that worked on it. Elements are
    passed on at once; when the source completes, the files are written, each whole or not at all, then the JSON is
    sent, then the stream completes. An error passes at once, without a report.

    The webhook gets the JSON by POST. What may pass is tried again, 6 times in all: no connection, no answer within
    20 s, and the statuses 408, 425, 429 and 5xx; the waits are random, up to 1 s at first and twice as much each time,
    and behind what `Retry-After` asks for. A report that cannot be written or sent is told of in the log, and ends
    nothing. When a run is interrupted it has as long as draining may take.

        source   -a-b-|
        report() -a-b-|

    Args:
        to: The Markdown file, written anew.
        json: The same as JSON, in a file; by default in none.
        webhook: An `http` or `https` address that gets the JSON; empty for none.
        of: The stream with the step `tasks`, where several have one.

    Example:
        >>> rx.of(1, 2).pipe(report()).run()
        2

    Raises:
        RxpipeError: Several streams have tasks, and `of` names none of them.

    Delivery: idempotent: the report is written anew; the webhook may get it more than once.
    """
    files = (Path(to).expanduser(), Path(json).expanduser() if json else None)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        reporting = Reporting(current(), scheduler, of, files, webhook)
        upstream = source.subscribe(
            observer.on_next,
            observer.on_error,
            lambda: reporting.finish(observer.on_completed),
            scheduler=scheduler,
        )
        return CompositeDisposable(upstream, Disposable(reporting.close))

    return Observable(subscribe)
