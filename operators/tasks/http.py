"""A request made of each record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._asking import Work, asking
from rxpipe.operators.tasks._http import Form, Http
from rxpipe.operators.tasks._template import TemplateText
from rxpipe.parameters.types import Expr, Ge, Gt, Secret
from rxpipe.parameters.units import Duration, Size, nbytes, seconds
from rxpipe.promises import Inflow, order_of


@operator
def http(
    source: Observable[Batch],
    url: TemplateText,
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET",
    headers: dict[str, TemplateText | Secret] = {},
    body: TemplateText | Mapping[str, object] | None = None,
    expect: Expr = "200 <= status < 300",
    into: str = "answer",
    paid: bool | None = None,
    largest: Size = "10MB",
    concurrency: Annotated[int, Ge(1)] = 256,
    timeout: Annotated[Duration, Gt(0)] = "1m",
) -> Observable[Batch]:
    """Make a request of each record, and add what is answered.

    Added is one field, with the `status`, the `headers`, by names in lower case and without the date, the `text`, and
    as `json` what that holds, where it is JSON, else null. Records come as they are answered; all other elements keep
    their place among those that wait. A redirection is not followed. Proxies are taken from the environment.

    Values that a template puts into the address are percent-encoded, unless it begins with one, which is then an
    address. A record of which no request can be made, or whose answer is not as expected, goes to `errors`; of a task,
    the attempt fails, and whether it is tried again depends on why: a status as `chat` takes it; an answer of status
    2xx that is not as expected may be so later.

    Of a task, the answer to a request that is `paid` is noted in its store as soon as it is there: whatever becomes of
    the process, the same request, but for its secrets, is not made again.

    At most `concurrency` records wait for their request: then the sources of the run are held, unless they are tasks,
    which wait in their store. Completion waits for all answers; an error passes at once; unsubscribing cancels.

    Args:
        url: The address, a Jinja2 template over the record's fields.
        method: What is asked for.
        headers: Headers, templates or secrets such as `{env: TOKEN}`.
        body: What is sent: a template; or a mapping, sent as JSON, whose texts are templates.
        expect: Which answers are those wanted: an expression over their `status`, `headers`, `text` and `json`.
        into: The field that is added.
        paid: Whether an answer is worth to be kept; by default it is of all methods but GET and HEAD.
        largest: How large an answer may be; a larger one is an error.
        concurrency: How many requests are under way at a time; `limit` before says more.
        timeout: How long an answer may take, all of it.

    Example:
        >>> from rxpipe.testing import Receiver
        >>> server = Receiver()
        >>> asked = http(server.url + "/items/{{n}}", expect="status == 200")
        >>> rx.of(Batch([{"n": "a b"}])).pipe(asked).run().rows[0]["answer"]["status"]
        200
        >>> server.received[0].path
        '/items/a%20b'

    Raises:
        MissingExtraError: The packages `httpx` or `jinja2` are not installed.
    """

    def make(context: Context) -> Work:
        return Http(context, Form(url, method, headers, body, expect, into, paid, nbytes(largest)))

    return asking(source, make, concurrency, seconds(timeout))


@fields_of(http)
def _fields(known: KnownFields, /, into: str, **_: object) -> KnownFields:
    return known.plus(into)


@order_of(http)
def _order(_: Inflow, /, **__: object) -> str:
    return "records come as they are answered"
