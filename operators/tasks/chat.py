"""A model asked about each record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import Outputs, fields_of, operator
from rxpipe.operators.tasks._asking import Work, asking
from rxpipe.operators.tasks._chat import Chat, Questions, address_of, price_for
from rxpipe.operators.tasks._template import CountingFile, FileName, TextOrFile
from rxpipe.parameters.types import Expr, Ge, Gt, Secret
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import Inflow, cost_of, order_of
from rxpipe.providers.prices import estimate


@operator
def chat(
    source: Observable[Batch],
    model: str,
    prompt: TextOrFile,
    system: TextOrFile | None = None,
    attach: Expr | None = None,
    schema: CountingFile | Mapping[str, object] | None = None,
    corrections: Annotated[int, Ge(0)] = 2,
    options: Mapping[str, object] = {},
    stream: bool = False,
    base_url: str | None = None,
    key: Secret | None = None,
    prices: FileName | None = None,
    concurrency: Annotated[int, Ge(1)] = 256,
    timeout: Annotated[Duration, Gt(0)] = "10m",
) -> Annotated[Observable[Batch], Outputs(parts=Batch)]:
    """Ask a model about each record, and add the answer as `text`, or with a schema as `result`, and its `usage`.

    The model is one behind an interface like OpenAI's. `usage` has the `input_tokens`, the `output_tokens`, the `cost`
    by the price table (0 without one), and how the answer `finish`es: `stop`, or `length` where it was cut off. Records
    come as they are answered; all other elements keep their place among those that wait.

    A record that cannot be asked about, or is not answered, goes to `errors`; of a task, the attempt fails, and whether
    it is tried again depends on why. A 429 is a rate limit, to be waited for as the service says; a used-up quota,
    until it says or the next midnight; or permanent, where the limit is zero. With a schema, an answer that does not
    satisfy it is asked for again, with what is wrong, up to `corrections` times; each of them is paid.

    Of a task, each answer is noted in its store as soon as it is there: whatever becomes of the process, the same
    request is not paid again. A call whose answer was lost, as it came too late or broke off, may have to be paid all
    the same; it counts with what was estimated: a token for three bytes of text, 8 more for each message, 1,500 for an
    attached image, and for the answer its `max_tokens`, else 1,000.

    `base_url: stand-in`, or a model of that name, stands for no model: it answers without a network, always the same,
    and says what it is. At most `concurrency` records wait for their call to begin: then the sources of the run are
    held, unless they are tasks, which wait in their store. Completion waits for all calls; an error passes at once;
    unsubscribing cancels.

        source                                             -a-|
        chat("stand-in", "Give 1.", schema={"const": 1})   -b-|
        a: {"n": 2}
        b: {"n": 2, "result": 1, "usage": {"input_tokens": 11, "output_tokens": 9, "cost": 0.0, "finish": "stop"}}

    Args:
        model: The model's name.
        prompt: What it is asked: a Jinja2 template over the record's fields, or the name of a file with one.
        system: What it is told before, a template too.
        attach: A file, or a list of files, to attach: a field or an expression that gives paths. Texts are put behind
            the prompt, images and PDF are attached as data.
        schema: A JSON schema, or a file with one, that the answer must satisfy; the answer is then JSON.
        corrections: How often an answer is asked for again that does not satisfy the schema.
        options: Further fields of the request, such as `max_tokens` or `temperature`.
        stream: Whether the answer is sent, and told, in parts.
        base_url: Where the service is; by default what `OPENAI_BASE_URL` says, else OpenAI.
        key: The key, a secret such as `{env: TOKEN}`; by default what `OPENAI_API_KEY` says.
        prices: A JSON file of prices: by model what a million tokens of `input` and of `output` cost.
        concurrency: How many calls run at a time; `limit` before says more.
        timeout: How long a call may take, with its corrections.

    Outputs:
        parts: With `stream`, the parts of answers as they come: the record that is asked about, with a text as `part`.
            They hold nothing, and come again where a call is made again.

    Example:
        >>> asked = chat("stand-in", "Which day is {{day}}?")
        >>> rx.of(Batch([{"day": "Monday"}])).pipe(asked).run().rows[0]["text"]
        "I am a stand-in for a model. I was asked: 'Which day is Monday?' (f66508ec)"

    Raises:
        MissingExtraError: The packages `httpx`, `jinja2` or `jsonschema` are not installed.
        RxpipeError: There is no such file, no price for the model, or the schema is none.
    """

    def make(context: Context) -> Work:
        questions = Questions(context, model, prompt, system, attach, schema, options)
        told = None if key is None else key.get_secret_value()
        return Chat(context, questions, base_url, told, prices, corrections, stream=stream)

    return asking(source, make, concurrency, seconds(timeout), "parts")


@fields_of(chat)
def _fields(known: KnownFields, /, attach: str | None, schema: object, **_: object) -> KnownFields:
    known.check(attach, "attach")
    return known.plus("text" if schema is None else "result", "usage").beside(parts=known.plus("part"))


@order_of(chat)
def _order(_: Inflow, /, **__: object) -> str:
    return "records come as they are answered"


@cost_of(chat)
def _cost(
    context: Context,
    /,
    model: str,
    prompt: str,
    system: str | None,
    attach: str | None,
    schema: str | Mapping[str, object] | None,
    options: Mapping[str, object],
    base_url: str | None,
    prices: str | None,
    **_: object,
) -> Callable[[dict[str, Any]], Awaitable[float | None]]:
    price = price_for(context, address_of(base_url), model, prices)
    questions = Questions(context, model, prompt, system, attach, schema, options)

    async def cost(record: dict[str, Any]) -> float | None:
        return None if price is None else estimate(await questions.of(record), price)

    return cost
