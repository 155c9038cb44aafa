"""What is asked of a model, what comes back, and why nothing did; whoever speaks to a service speaks through this."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

import msgspec

from rxpipe.errors import RxpipeError
from rxpipe.tasks.kinds import DEFAULT, Kind


class Remaining(msgspec.Struct, frozen=True):
    """What a service says is left of what it allows; None where it does not say.

    Attributes:
        requests: Requests that may still be made.
        tokens: Tokens that may still be used.
        reset: When what is used up comes back, in seconds since the epoch: of counters at zero the latest, else of all.
    """

    requests: int | None = None
    tokens: int | None = None
    reset: float | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an answer took: tokens, and what they cost by the price table; 0 without one."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class Request(msgspec.Struct, frozen=True):
    """A question to a model.

    Attributes:
        model: Its name.
        messages: As in OpenAI's interface: each has a `role` and a `content`, a text or a list of parts.
        options: Further fields of the request, such as `max_tokens` or `temperature`.
        schema: The JSON schema that the answer must satisfy, if it is to be JSON.
    """

    model: str
    messages: list[dict[str, Any]]
    options: Mapping[str, Any] = {}
    schema: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """What decides the answer, in a form that JSON has."""
        return {"model": self.model, "messages": self.messages, "options": dict(self.options), "schema": self.schema}


class Result(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        text: All of its text.
        usage: What it took.
        model: The model that answered, as the service names it.
        finish: Why it ends where it ends: `stop`, or `length` where it was cut off.
        remaining: What the service says is left of what it allows.
    """

    text: str
    usage: Usage = Usage()
    model: str = ""
    finish: str = "stop"
    remaining: Remaining | None = None


class Provider(Protocol):
    """Speaks to one service. It waits as long as it is waited for; cancelled, it leaves no connection and no task."""

    async def ask(self, request: Request) -> Result:
        """The whole answer.

        Raises:
            CallError: There is none.
        """
        ...

    def stream(self, request: Request) -> AsyncGenerator[str | Result, None]:
        """The parts of the answer's text as they come, and at last the answer.

        Raises:
            CallError: There is none, or it broke off.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class CallError(RxpipeError):
    """A service did not answer, or not with what was asked for.

    Args:
        told: What happened, for people.
        kind: In one word why, see `rxpipe.tasks.kinds`.
        status: The status of the answer, if there was one.
        retry_after: The seconds after which to try again, if the service says so.
        until: When the service can be used again, in seconds since the epoch, where a quota is used up.
        remaining: What it says is left of what it allows.
        spent: Whether the service may have done the work all the same, so that it may have to be paid for.
    """

    def __init__(
        self,
        told: str,
        kind: Kind,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        until: float | None = None,
        remaining: Remaining | None = None,
        spent: bool = False,
    ) -> None:
        super().__init__(told)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.until = until
        self.remaining = remaining
        self.spent = spent

    @property
    def transient(self) -> bool:
        """Whether it may pass by itself."""
        return self.kind in DEFAULT
