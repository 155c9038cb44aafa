"""What the state of a step depends on: all that it and the steps before it do, whatever they are called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import orjson

from rxpipe.graph import stream_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rxpipe.language.plan import Plan, PlannedStep


class Lineage(NamedTuple):
    """Two hashes of a step.

    Attributes:
        whole: Of what it does, and all steps before it in its own and other streams.
        own: Of what it does.
    """

    whole: str
    own: str


def lineages(plan: Plan) -> dict[str, Lineage]:
    """The lineage of each step by its name; how something is shown is no part of it."""
    made: dict[str, Lineage] = {}
    last: dict[str, str] = {}
    for name, stream in plan.streams.items():
        before = ""
        for step in stream.steps:
            if step.reads is not None:
                before = _read(step.reads, last)
            elif step.operator is None or step.operator.delivery != "shown":
                inputs = {input_: _inputs(named, last) for input_, named in step.streams.items()}
                before = _hash([what_it_does(step), before, inputs])
                made[step.name] = Lineage(before, _hash(what_it_does(step)))
        last[name] = before
    return made


def what_it_does(step: PlannedStep) -> list[object]:
    """A step's operator and parameters, as plain data once `as_type` stands for what has no lasting form."""
    return [step.fingerprint, step.parameters]


def as_type(value: object) -> str:
    """What stands for a value that is no plain data: a function has no lasting form, a secret none to be shown."""
    return type(value).__name__


def _inputs(named: str | list[str], last: Mapping[str, str]) -> list[str]:
    return [_read(name, last) for name in ([named] if isinstance(named, str) else named)]


def _read(name: str, last: Mapping[str, str]) -> str:
    """What a stream's last step does; or, of the stream `errors` and the outputs of steps, their name with it."""
    stream = stream_of(name)
    output = name.removeprefix(stream)
    return last.get(stream, stream) + output


def _hash(value: object) -> str:
    text = orjson.dumps(value, default=as_type, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()
