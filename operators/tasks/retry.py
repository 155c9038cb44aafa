"""When a task that has failed is tried again."""

from __future__ import annotations

from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from typing_extensions import TypedDict

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem, did_you_mean, nearest
from rxpipe.operator import operator
from rxpipe.parameters.units import Duration, seconds
from rxpipe.tasks.attempt import attempt_of
from rxpipe.tasks.kinds import DEFAULT, KINDS, Kind, Policy, Waits


class WaitSpec(TypedDict, total=False):
    """How often, and after which waits: `attempts` in all, `first` and `longest` wait."""

    attempts: int
    first: Duration
    longest: Duration


@operator
def retry(
    source: Observable[Batch],
    kinds: dict[str, WaitSpec] = {},
    outage: Duration = "6h",
) -> Observable[Batch]:
    """Say when tasks are tried again that fail in the steps behind; all elements pass.

    A task that fails waits in its store, never in a worker: for a random time up to a limit that doubles with each
    attempt (exponential backoff with full jitter), on top of what the service asks for. Which failures pass, how often
    they are tried and how long the waits are depends on their kind: `network` (6 attempts, the first wait up to 1 s),
    `timeout` (4, 2 s), `rate limit` (10, 5 s), `quota` (10, 1 min), `server` (5, 2 s), `machine` (6, 5 s: a full disk,
    a locked database, too many open files), `interrupted` (4, none); waits are at most 5 min, for `quota` an hour.
    Those of any other kind (`permission`, `invalid input`, `other`) do not pass. Where fewer than a twentieth of at
    least 20 further attempts after a kind of failure succeeded, tasks that fail so are given up at once.

    Where eight calls in a row, of three tasks or more, do not come through (`network`, or a 502, 503 or 504), it is the
    service that is down: what waits for `limit` is given back, one task alone is tried now and then, at last every
    5 min, and none of these attempts counts. Once one comes through all go on. What is down for longer than `outage`
    is waited for no more.

    The kind is what an error says of itself by `kind`, or follows from its HTTP status or its class. Completion and
    errors pass through; nothing is held back. Records that are no tasks pass; for those `on_error` has `retry`.

        source   -a-b-|
        retry()  -a-b-|

    Args:
        kinds: What is different for a kind: `{server: {attempts: 3, first: 10s}}`; with one attempt it is not tried
            again.
        outage: How long the service may be down without the attempts counting; `0s` has each of them count.

    Example:
        >>> rx.of(Batch([{"n": 1}])).pipe(retry({"server": {"attempts": 3, "first": "10s"}})).run()
        Batch([{'n': 1}])

    Raises:
        ParameterError: There is no such kind.
    """
    waits = dict(DEFAULT) | {_kind(name): _changed(name, given) for name, given in kinds.items()}

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        policy = Policy(waits, seconds(outage))
        current().describe("learned", lambda: dict(policy.learned))

        def on_next(element: Any) -> None:
            attempt = attempt_of(element.leases) if isinstance(element, Batch) else None
            if attempt is not None:
                attempt.policy = policy
            del attempt
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


def _kind(name: str) -> Kind:
    for kind in KINDS:
        if kind == name:
            return kind
    message = f"must be one of {', '.join(KINDS)}; got {name!r}{did_you_mean(nearest(name, KINDS))}"
    raise ParameterError("retry", [ParameterProblem(("kinds", name), message)])


def _changed(name: str, given: WaitSpec) -> Waits:
    """The waits after a kind of failure, with what is given in the place of what is usual."""
    usual = DEFAULT.get(_kind(name), Waits(4, 1.0))
    first, longest = given.get("first", usual.first), given.get("longest", usual.longest)
    return Waits(given.get("attempts", usual.attempts), seconds(first), seconds(longest))
