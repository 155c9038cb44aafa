"""Make secrets and personal data in records unreadable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal

from reactivex import Observable

from rxpipe.elements import Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.lift import Records, Reject, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import Fusible, looping
from rxpipe.operator import fields_of, operator
from rxpipe.operators.records._secrets import SECRETS, SecretKind, Spans, finder, spans_of
from rxpipe.parameters.plain import Checked, kept
from rxpipe.parameters.types import Secret
from rxpipe.promises import Inflow, Lint, lints_of, pattern_lint

_SHOWN = 4
_HASH_BYTES = 8


Pattern = Annotated[str, Checked(kept(spans_of))]
"""A regular expression."""


class MaskError(ValueError):
    """A record cannot be masked; nothing of it is shown."""


@operator
def mask(
    source: Observable[Records],
    /,
    kinds: list[SecretKind] = [*SECRETS],
    patterns: list[Pattern] = [],
    fields: list[str] | None = None,
    into: Literal["stars", "hash", "partial"] = "stars",
    key: Secret | None = None,
) -> Observable[Records]:
    """Replace secrets and personal data in the texts of records, so that nothing behind this step can show them.

    What is looked for, by name: `email`; `iban` and `card` (13 to 19 digits, in groups or not), both only with the
    right check digits; `token`: what follows `Bearer`, or `password=`, `api_key:` and the like, keys of well-known
    forms (`sk-…`, `ghp_…`, `AKIA…`), JSON web tokens, private keys (`-----BEGIN PRIVATE KEY-----`), and the password in
    an address (`https://user:…@host`); `ipv4`, `ipv6`; and `phone`: numbers that begin with `+` or `00`, or are written
    as `(555) 123-4567`. Look-alikes may be masked, too, and what is written in another form is not found: where a field
    has nothing but a secret, name it and give the pattern `.+`.

    Texts inside lists and objects are masked, too; names of fields, numbers and texts in any other form are not. A
    record that cannot be masked goes to `errors` without its content, as does one that fails behind this step: masked.
    Steps before it do show what they reject. Completion and errors pass through; nothing is held back.

        source                 -a-|
        mask(kinds=["ipv4"])   -b-|
        a: {"text": "10.0.0.7 logged in", "from": ["10.0.0.8"]}
        b: {"text": "*** logged in", "from": ["***"]}

    Args:
        kinds: What to look for, by name; all by default.
        patterns: Regular expressions of your own; with a group, what that matches is masked, else all of it.
        fields: The fields to look in; all by default.
        into: What is put in its place: `stars`; a `hash` keyed with `key`, the same for the same text, so that records
            can still be counted and joined by it; or `partial`: stars and the last 4 characters, of texts of more than
            8.
        key: The key of hashes, which keeps short texts from being guessed by trying all.

    Example:
        >>> rows = [{"user": "ann@example.org", "text": "card 4111 1111 1111 1111, order 4111 1111 1111 1112"}]
        >>> rx.of(Batch(rows)).pipe(mask()).run()
        Batch([{'user': '***', 'text': 'card ***, order 4111 1111 1111 1112'}])

    Raises:
        ParameterError: `key` is given without `into: hash`, or the other way round; or there is nothing to look for, or
            nothing to look in.
    """
    _require(kinds, patterns, fields, into, key)
    found = finder([*(spans for kind in kinds for spans in SECRETS[kind]), *map(spans_of, patterns)])
    masked = partial(_masked, found, _replacing(into, b"" if key is None else key.get_secret_value().encode()))

    def of_dict(record: dict[str, Any]) -> dict[str, Any]:
        return {name: value if fields and name not in fields else masked(value) for name, value in record.items()}

    def write(loop: Loop) -> None:
        own = loop.fields
        if own is None:
            loop.remake(of_dict, dict)
            return
        for name in own if fields is None else fields:
            if name in own or not loop.of_dicts:
                value = loop.value(parse(name))
                loop.put(name, loop.named(Code(f"{loop.keep(masked)}({value.text})", value.hint)))

    step = looping(write)

    def rows(records: list[Row], reject: Reject) -> list[Row]:
        return step.rows(records, lambda _, error: reject("***", MaskError(type(error).__name__)))

    fusible = Fusible(rows, write)
    return lift(source, lambda _: fusible)


@fields_of(mask)
def _fields(known: KnownFields, /, fields: list[str] | None, **_: object) -> KnownFields:
    for index, name in enumerate(fields or []):
        if name.isidentifier():
            known.check(name, "fields", index)
    return known


@lints_of(mask)
def _lints(_: Inflow, /, patterns: list[str], **__: object) -> Iterator[Lint]:
    for index, pattern in enumerate(patterns):
        yield from pattern_lint(pattern, "patterns", index)


def _require(kinds: list[Any], patterns: list[str], fields: list[str] | None, into: str, key: object) -> None:
    """Check what one parameter cannot tell by itself."""
    problems = []
    if (into == "hash") != (key is not None):
        problems.append(ParameterProblem(("key",), f"a key goes with 'into: hash', and that needs one; got {into!r}"))
    if not kinds and not patterns:
        problems.append(ParameterProblem(("kinds",), "'kinds' or 'patterns' must name something to look for"))
    if fields == []:
        problems.append(ParameterProblem(("fields",), "must name at least one field; got none"))
    if problems:
        raise ParameterError("mask", problems)


def _masked(spans: Spans, replace: Callable[[str], str], value: Any) -> Any:
    """A value with the texts in it masked; the same object where there is nothing to mask."""
    if isinstance(value, str):
        parts = []
        at = 0
        for start, end in spans(value):
            parts += [value[at:start], replace(value[start:end])]
            at = end
        return "".join([*parts, value[at:]]) if parts else value
    if isinstance(value, dict):
        return {name: _masked(spans, replace, inner) for name, inner in value.items()}
    return [_masked(spans, replace, inner) for inner in value] if isinstance(value, list | tuple) else value


def _replacing(into: str, key: bytes) -> Callable[[str], str]:
    """What to put in the place of a text."""
    if into == "hash":
        secret = hashlib.blake2b(key).digest()  # of whatever length, where a key may have 64 bytes
        return lambda text: hashlib.blake2b(text.encode(), key=secret, digest_size=_HASH_BYTES).hexdigest()
    if into == "partial":
        return lambda text: f"***{text[-_SHOWN:]}" if len(text) > 2 * _SHOWN else "***"
    return lambda _: "***"
