"""Records sent to an HTTP server."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import operator
from rxpipe.operators.sinks._requests import Form, Requests
from rxpipe.parameters.types import Ge, Gt, Secret
from rxpipe.parameters.units import Duration, seconds

T = TypeVar("T")


@operator
def to_http(
    source: Observable[T],
    url: str,
    method: Literal["POST", "PUT"] = "POST",
    body: Literal["lines", "array", "record"] = "lines",
    batch: Annotated[int, Ge(1)] = 1000,
    headers: dict[str, str | Secret] = {},
    key_header: str | None = None,
    concurrency: Annotated[int, Ge(1)] = 4,
    timeout: Annotated[Duration, Gt(0)] = "30s",
) -> Observable[T]:
    """Send records to an HTTP server, and pass each element on when all its requests are answered.

    Each element is sent on its own, in requests of at most `batch` records: put `buffer` before for larger ones.
    Records are JSON as `to_jsonl` writes it; one without a JSON form goes to `errors`. Requests are under way
    `concurrency` at a time and may reach the server in another order; elements are passed on in theirs, and keep their
    leases until then, so a checkpoint waits for the answers. The sources are held while `concurrency` elements wait
    for their turn.

    What may pass is tried again for as long as it takes, unless `on_error` says how often: no connection or a broken
    one, no answer within `timeout`, and the statuses 408, 425, 429 and 5xx. The waits are random, up to 0.1 s at first
    and twice as much each time, up to 30 s at last, and behind what `Retry-After` asks for (an hour at most). After 10
    failures in a row no request is sent for 30 s, and then one, on whose answer it depends whether the others are.
    Meanwhile the run is degraded. Any other status but 2xx (a redirection is not followed) sends the records of the
    request to `errors`, with the status and the beginning of what the server said. Completion waits for all answers; an
    error passes at once; unsubscribing cancels.

    Args:
        url: Where to: an `http` or `https` address. Proxies are taken from the environment.
        method: POST or PUT.
        body: JSON `lines`, one JSON `array`, or one `record` a request.
        batch: The most records of one request.
        headers: Headers of each request, texts or secrets such as `{env: TOKEN}`; `Content-Type` has a default.
        key_header: The name of a header, such as `Idempotency-Key`, that gets a random key for each request: the same
            whenever the request is tried again, so that the server can tell. After a restart requests are new ones.
        concurrency: How many requests are under way at a time.
        timeout: How long an answer may take, all of it.

    Example:
        >>> from rxpipe.testing import Receiver
        >>> server = Receiver()
        >>> _ = rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(to_http(server.url, body="array")).run()
        >>> server.bodies
        [b'[{"n":1},{"n":2}]']

    Raises:
        MissingExtraError: The package `httpx` is not installed: `pip install 'rxpipe-graphs[http]'`.

    Delivery: at-least-once: a request whose answer was lost is sent again, and after a crash the records since the last
        checkpoint are.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problem = ParameterProblem(("url",), f"must be an http or https address, as http://host/path; got {url!r}")
        raise ParameterError("to_http", [problem])
    secrets = {name: value.get_secret_value() for name, value in headers.items() if not isinstance(value, str)}
    shown = {name: value for name, value in headers.items() if isinstance(value, str)}
    form = Form(
        url, method, body, batch, shown | secrets, [*filter(None, secrets.values())], key_header, seconds(timeout)
    )

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        requests = Requests(form, current(), scheduler, observer, concurrency)
        try:
            upstream = source.subscribe(requests.take, requests.fail, requests.complete, scheduler=scheduler)
        except BaseException:
            requests.close()
            raise
        return CompositeDisposable(upstream, Disposable(requests.close))

    return Observable(subscribe)
