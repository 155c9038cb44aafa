"""What `chat` does: a question made of a record, asked once and paid once, its answer checked."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import orjson

from rxpipe.context import Context
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.extras import extra
from rxpipe.language.datafiles import find_file
from rxpipe.language.hidden import note
from rxpipe.operators.tasks._asking import Ticket
from rxpipe.operators.tasks._jinja import EXTRA
from rxpipe.operators.tasks._template import Template, template, text_or_file
from rxpipe.providers.openai import ADDRESS, OpenAI
from rxpipe.providers.prices import FREE, Price, estimate, price_of, read_prices
from rxpipe.providers.provider import CallError, Provider, Request, Result, Usage
from rxpipe.providers.standin import NAME, StandIn

LARGEST = 20 * 1024 * 1024
"""Bytes that an attached file may have."""

_FENCE = "```"


class Questions:
    """Makes a request of a record.

    Args:
        context: The step; its folder is where files are looked for.
        model: The model.
        prompt: The template of what is asked, or its file.
        system: That of what is told before.
        attach: The expression that names files to attach.
        schema: The schema, or its file.
        options: Further fields of the request.

    Raises:
        RxpipeError: A file or the schema cannot be used.
    """

    def __init__(
        self,
        context: Context,
        model: str,
        prompt: str,
        system: str | None,
        attach: str | None,
        schema: str | Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        self._context = context
        self.model = model
        self._options = options
        texts = {"system": system, "user": prompt}
        self._templates: list[tuple[str, Template]] = [
            (role, template(text_or_file(text, context.folder), f"{context.name}: {role}"))
            for role, text in texts.items()
            if text is not None
        ]
        self._attach = None if attach is None else parse(attach).bind(dict)
        self.schema = _schema(schema, context.folder)
        self.check = None if self.schema is None else _checker(self.schema, context.name)

    async def of(self, record: dict[str, Any]) -> Request:
        """The request for a record.

        Raises:
            ValueError: The record lacks what is asked for.
            OSError: A file to attach cannot be read.
        """
        messages: list[dict[str, Any]] = [{"role": role, "content": fill(record)} for role, fill in self._templates]
        paths = None if self._attach is None else self._attach(record)
        if paths:
            named = paths if isinstance(paths, list) else [paths]
            read = self._context.executor()
            parts = await asyncio.get_running_loop().run_in_executor(read, lambda: [attached(path) for path in named])
            messages[-1]["content"] = [{"type": "text", "text": messages[-1]["content"]}, *parts]
        return Request(self.model, messages, self._options, self.schema)


class Chat:
    """What is done with a record; see `Work`.

    Args:
        context: The step.
        questions: Makes the requests.
        base_url: Where the service is; None: what the environment says.
        key: The key; None: what the environment says.
        prices: A file of prices.
        corrections: How often an answer is asked for again.
        stream: Whether answers come in parts.

    Raises:
        RxpipeError: There is no price for the model.
    """

    def __init__(
        self,
        context: Context,
        questions: Questions,
        base_url: str | None,
        key: str | None,
        prices: str | None,
        corrections: int,
        *,
        stream: bool,
    ) -> None:
        self._questions = questions
        self._corrections = corrections
        self._stream = stream
        address, model = address_of(base_url), questions.model
        self._price = price_for(context, address, model, prices)
        stand_in = NAME in (address, model)
        self._provider = StandIn(self._price or FREE) if stand_in else service(context, address, key, self._price)

    async def do(self, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
        """The answer to the question about a record."""
        first = request = await self._questions.of(record)
        check = self._questions.check
        used: list[Result] = []
        wrong = ""
        for number in range(1 + (self._corrections if check else 0)):
            result = await self._answer(request, ticket, number)
            if result is None:
                return None
            used.append(result)
            if check is None:
                return {"text": result.text, "usage": _usage(used)}
            try:
                return {"result": check(result.text), "usage": _usage(used)}
            except ValueError as error:
                wrong = str(error)
            request = _corrected(request, result.text, wrong)
        for number in range(len(used)):
            ticket.remember(first.plain(), None, number)  # who tries again wants other answers
        msg = f"the answer must satisfy the schema, and does not after {self._corrections} corrections: {wrong}"
        raise CallError(msg, "other")

    async def _answer(self, request: Request, ticket: Ticket, number: int) -> Result | None:
        """An answer, paid for now or before; None where the budget does not allow for it."""
        plain = request.plain()
        before = ticket.recall(plain, number)
        if before is not None:
            return msgspec.convert(before, Result)
        may_cost = None if self._price is None else estimate(request, self._price)
        if not ticket.begin(may_cost):
            return None
        try:
            result = await self._asked(request, ticket)
        except (CallError, asyncio.CancelledError) as error:
            if may_cost and getattr(error, "spent", True):
                ticket.charge(may_cost)
            raise
        ticket.charge(result.usage.cost)
        ticket.remember(plain, msgspec.to_builtins(result), number)
        ticket.hears(result.remaining)
        return result

    async def _asked(self, request: Request, ticket: Ticket) -> Result:
        if not self._stream:
            return await self._provider.ask(request)
        async with aclosing(self._provider.stream(request)) as parts:
            async for part in parts:
                if isinstance(part, Result):
                    return part
                ticket.tell(part)
        msg = "the answer ended without its end"
        raise CallError(msg, "network", spent=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.close()


def address_of(base_url: str | None) -> str:
    """Where the service is."""
    return base_url or os.environ.get("OPENAI_BASE_URL") or ADDRESS


def price_for(context: Context, address: str, model: str, prices: str | None) -> Price | None:
    """What a model costs; None where nobody says.

    Raises:
        RxpipeError: There is no price for the model.
    """
    if prices:
        return price_of(model, read_prices(find_file(prices, context.folder)))
    return FREE if NAME in (address, model) else None


def service(context: Context, address: str, key: str | None, price: Price | None) -> Provider:
    """The service at an address, with the key that is told, else that of the environment."""
    if key is None and (key := os.environ.get("OPENAI_API_KEY")):
        note(key, "${OPENAI_API_KEY}")
    return OpenAI(address, key, price or FREE, context.now, context.name)


def attached(path: object) -> dict[str, Any]:
    """A file as a part of a message.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or of a kind that cannot be attached.
    """
    file = Path(str(path)).expanduser()
    size = file.stat().st_size
    if size > LARGEST:
        msg = f"{file.name}: must have {LARGEST} bytes at most to be attached; got {size}"
        raise ValueError(msg)
    data = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or ""
    if kind.startswith("image/") and kind != "image/svg+xml":
        return {"type": "image_url", "image_url": {"url": _data_url(kind, data)}}
    if kind == "application/pdf":
        return {"type": "file", "file": {"filename": file.name, "file_data": _data_url(kind, data)}}
    try:
        return {"type": "text", "text": f"{file.name}:\n\n{data.decode()}"}
    except UnicodeDecodeError:
        msg = f"{file.name}: must be a text in UTF-8, an image or a PDF to be attached; got {kind or 'other bytes'}"
        raise ValueError(msg) from None


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _usage(used: list[Result]) -> dict[str, Any]:
    """What answers took together, and how the last of them finished."""
    total = Usage(
        sum(result.usage.input_tokens for result in used),
        sum(result.usage.output_tokens for result in used),
        sum(result.usage.cost for result in used),
    )
    return {**msgspec.structs.asdict(total), "finish": used[-1].finish}


def _corrected(request: Request, answer: str, wrong: str) -> Request:
    """The same request, with an answer to it and what is wrong with that."""
    told = f"That does not satisfy the JSON schema: {wrong}. Answer again, with the JSON alone."
    more = [{"role": "assistant", "content": answer}, {"role": "user", "content": told}]
    return msgspec.structs.replace(request, messages=request.messages + more)


def _schema(given: str | Mapping[str, Any] | None, folder: Path) -> Mapping[str, Any] | None:
    if not isinstance(given, str):
        return given
    path = find_file(given, folder)
    try:
        found = orjson.loads(path.read_bytes())
    except ValueError as error:
        msg = f"schema {path}: must be JSON: {error}"
        raise RxpipeError(msg) from error
    if not isinstance(found, dict):
        msg = f"schema {path}: must be an object; got {type(found).__name__}"
        raise RxpipeError(msg)
    return found


def _checker(schema: Mapping[str, Any], where: str) -> Callable[[str], Any]:
    """A function that reads an answer, and raises a ValueError if it does not satisfy a schema."""
    jsonschema = extra("jsonschema", EXTRA, where)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        msg = f"{where}: schema: must be a JSON schema: {error.json_path}: {error.message}"
        raise RxpipeError(msg) from error
    validator = jsonschema.Draft202012Validator(schema)

    def check(text: str) -> Any:
        bare = text.strip()
        if bare.startswith(_FENCE) and bare.endswith(_FENCE) and "\n" in bare:
            bare = bare.removesuffix(_FENCE).partition("\n")[2]
        try:
            value = orjson.loads(bare)
        except ValueError as error:
            msg = f"must be JSON: {error}"
            raise ValueError(msg) from None
        wrong = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if wrong is not None:
            msg = f"{wrong.json_path}: {wrong.message}"
            raise ValueError(msg)
        return value

    return check
