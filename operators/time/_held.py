"""What `debounce` and `throttle` share: the key of an element, and how a later element replaces a held one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from rxpipe.context import Context
from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.expressions import parse
from rxpipe.pending import Pending
from rxpipe.table import Table

MERGING_KINDS = ("create", "modify")
"""Kinds of file events that a following modification adds to; all others say something that it would hide."""


def key_function(by: str | None) -> Callable[[Any], Hashable]:
    """A function from an element to its key: attribute, field or expression `by`, else what the element is about."""
    if by is None:
        return _natural_key
    if by.isidentifier():
        return lambda element: element[by] if isinstance(element, Mapping) else getattr(element, by)
    expression = parse(by)
    bound: dict[type, Callable[[Any], Any]] = {}

    def key(element: Any) -> Hashable:
        kind = type(element)
        if kind not in bound:
            bound[kind] = expression.bind(kind)
        return bound[kind](element)  # type: ignore[no-any-return]  # an expression gives whatever it gives

    return key


def _natural_key(element: Any) -> Hashable:
    if isinstance(element, FileEvent):
        return element.path
    return element.name if isinstance(element, Table) else None


def hold(element: Any) -> Any:
    """An element as it is held: batches in a form that grows."""
    if isinstance(element, Batch):
        pending = Pending()
        pending.add(element)
        return pending
    return element


def release(held: Any) -> Any:
    """A held element as it is emitted."""
    return held.take() if isinstance(held, Pending) else held


def conflate(held: Any, element: Any) -> Any | None:
    """What to hold instead of `held` when `element` comes; None where that would lose something: emit `held` first."""
    if isinstance(element, Batch) and isinstance(held, Pending):
        if not held.fits(element):
            return None
        held.add(element)
        return held
    if isinstance(element, FileEvent) and isinstance(held, FileEvent):
        return _one_event(held, element)
    if isinstance(element, Batch | LineDelta) or isinstance(held, Pending | LineDelta):
        return None
    return element


def _one_event(held: FileEvent, event: FileEvent) -> FileEvent | None:
    if event.kind != "modify" or held.kind not in MERGING_KINDS or held.path != event.path or held.known != event.known:
        return None
    return held._replace(new=event.new)


def leased(held: Any) -> bool:
    """Whether a held element has leases, which a checkpoint waits for."""
    return bool(held.leases) if isinstance(held, Pending) else getattr(held, "lease", None) is not None


def passes_alone(element: Any) -> bool:
    """Whether all that is held must be emitted before this element, which then passes at once."""
    return isinstance(element, OriginGone)


def reject(context: Context, element: Any, error: Exception) -> None:
    """Send an element that has no key to the stream `errors`."""
    context.reject(f"{type(error).__name__}: {error}", element, leases=getattr(element, "leases", ()))
