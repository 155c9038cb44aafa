"""Where texts have personal data and secrets in them: patterns by name, and the checks that tell them from look-alikes.

Each pattern looks at a text in time that grows with its length: what begins a match is not tried again inside it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Literal

SecretKind = Literal["email", "iban", "card", "token", "ipv4", "ipv6", "phone"]

Spans = Callable[[str], Iterator[tuple[int, int]]]
"""Where a text has what is looked for: starts and ends, in order, none inside another."""

_SHORTEST_IBAN = 15
_FEWEST_COLONS = 2
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f:.]{3,}+")
_CARD_DIGITS = range(13, 20)


def spans_of(pattern: str, *needles: str) -> Spans:
    """Where a text matches a pattern: its first group, if it has one that took part, or all of it.

    Args:
        pattern: The pattern.
        needles: Texts of which one is in all that matches, if there are such: they are found faster.

    Raises:
        ValueError: It is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        msg = f"must be a regular expression; got {pattern!r}: {error}"
        raise ValueError(msg) from error
    group = min(compiled.groups, 1)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        if needles and not any(needle in text for needle in needles):
            return
        for match in compiled.finditer(text):
            span = match.span(group) if match[group] is not None else match.span()
            if span[0] < span[1]:
                yield span

    return spans


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """The longest beginning whose check digits are right: what follows may look like more of it."""
    for end in range(len(text), _SHORTEST_IBAN - 1, -1):
        plain = text[:end].replace(" ", "")
        if text[end - 1] != " " and len(plain) >= _SHORTEST_IBAN and _iban(plain):
            yield 0, end
            return


def _iban(plain: str) -> bool:
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Groups of digits that together have a right check digit, among others that do not belong to them."""
    groups = [match.span() for match in re.finditer(r"\d+", text)]
    first = 0
    while first < len(groups):
        start = groups[first][0]
        digits = ""
        found = first
        for last in range(first, len(groups)):
            digits += text[slice(*groups[last])]
            if len(digits) in _CARD_DIGITS and digits[0] in "23456" and _luhn(digits):
                found = last + 1
                break
            if len(digits) >= _CARD_DIGITS.stop:
                break
        if found > first:
            yield start, groups[found - 1][1]
        first = max(found, first + 1)


def _luhn(digits: str) -> bool:
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def _ipv6(text: str) -> Iterator[tuple[int, int]]:
    """Addresses of version 6, without the punctuation around them and the names of other things."""
    for match in _HEXADECIMAL.finditer(text) if text.count(":") >= _FEWEST_COLONS else ():
        start, end = match.span()
        if text[end : end + 1].isalnum():
            continue
        if start and text[start - 1].isalnum():
            start = text.find(":", start, end) + 1 or end
        if not text.startswith("::", start):
            start += len(text[start:end]) - len(text[start:end].lstrip(":."))
        while text[start:end].endswith((".", ":")) and not text[start:end].endswith("::"):
            end -= 1
        if text.count(":", start, end) >= _FEWEST_COLONS and _is_address(text[start:end]):
            yield start, end


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _within(pattern: str, parts: Spans) -> Spans:
    """What `parts` finds in each match of a pattern."""
    whole = spans_of(pattern)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        for start, end in whole(text):
            yield from ((start + begin, start + until) for begin, until in parts(text[start:end]))

    return spans


_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"

SECRETS: dict[SecretKind, tuple[Spans, ...]] = {
    "email": (spans_of(r"(?<![\w.%+-])[\w.%+-]++@[^\W_](?:(?:[^\W_]|-)*\.)+(?:[^\W_]|-)*[^\W_]", "@"),),
    "iban": (_within(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){2,9}\b", _ibans),),
    "card": (_within(r"(?<!\d)\d(?:[ -]?\d){12,}+", _cards),),
    "token": (
        spans_of(r"(?i:\b(?:bearer|basic)\s+)([\w.~+/-]{8,}+=*)"),
        spans_of(
            r"(?i:(?:api|access|auth|private|secret)[_-]?key|token|secret|passw(?:or)?d|pwd)[\\\"']*\s*[:=]\s*"
            r"[\\\"']*((?<=\")[^\\\"]+|(?<=')[^\\']+|[^\s\\\"'&,;]+)",
            *":=",
        ),
        spans_of(
            r"\b(?:sk-[\w-]{16,}|gh[opsru]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
            r"|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|eyJ[\w-]+\.[\w-]+\.[\w-]*|[rs]k_(?:live|test)_\w{16,}|npm_\w{30,}|hf_\w{30,})",
            *("sk-", "gh", "glpat-", "xox", "AKIA", "AIza", "eyJ", "k_live_", "k_test_", "npm_", "hf_"),
        ),
        spans_of(r"://[^\s/?#:@]*+:([^\s/?#@]++)@", "://"),
        spans_of(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", "PRIVATE KEY-----"
        ),
    ),
    "ipv4": (spans_of(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\d)", "."),),
    "ipv6": (_ipv6,),
    "phone": (
        spans_of(r"(?<![\w+])(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){6,14}(?!\d)", "+", "00"),
        spans_of(r"(?<![\w+])(?:\(\d{3}\)|\d{3})[ .-]{1,2}\d{3}[ .-]\d{4}(?!\w)"),
    ),
}
"""What can be looked for by name."""


def finder(all_spans: list[Spans]) -> Spans:
    """Where any of them finds something; what overlaps is one."""

    def spans(text: str) -> Iterator[tuple[int, int]]:
        found = sorted(span for each in all_spans for span in each(text))
        while found:
            start, end = found.pop(0)
            while found and found[0][0] < end:
                end = max(end, found.pop(0)[1])
            yield start, end

    return spans
