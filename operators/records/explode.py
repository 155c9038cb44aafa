"""One record per item of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.expressions.fields import field_types
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.lift import Records, Reject, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import Fusible, compile_values, row_struct
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr

_LISTS = frozenset({list, tuple, type(None)})

Expand = Callable[[list[Row], list[Any]], list[Row]]
"""From rows, and the list of each, to one row per item."""


@operator
def explode(
    source: Observable[Records], items: Expr, into: str = "item", index: str | None = None, keep: bool = False
) -> Observable[Records]:
    """Make one record per item of a list, each with the fields of the record the list is in, and the item as a field.

    A record without items gives none, unless `keep` is true: then each record also goes on itself, first, with a null
    item. A retracted record retracts all that it gave. A record whose expression fails, or gives no list, goes to
    `errors`. Completion and errors pass through; nothing is held back.

    Args:
        items: What gives the list; null is an empty one.
        into: The field that takes the item.
        index: A field that takes the item's number, counted from 1; null in the record that `keep` lets go on.
        keep: Let the record itself go on, too.

    Example:
        >>> rx.of(Batch([{"id": 1, "parts": ["a", "b"]}])).pipe(explode("parts", into="part")).run().rows
        [{'id': 1, 'parts': ['a', 'b'], 'part': 'a'}, {'id': 1, 'parts': ['a', 'b'], 'part': 'b'}]

    Raises:
        RxpipeError: `into` or `index` is no name, or both are the same.
    """
    added: tuple[str, ...] = (into,) if index is None else (into, index)
    if not all(name.isidentifier() for name in added) or len({*added}) < len(added):
        msg = f"explode: 'into' and 'index' must be two names of fields; got {', '.join(map(repr, added))}"
        raise RxpipeError(msg)
    listed = parse(items)
    items_of = compile_values([listed])

    def write(loop: Loop) -> None:
        found = loop.named(loop.value(listed)).text
        loop.line(f"if _type({found}) not in {loop.keep(_LISTS)}: raise {loop.keep(TypeError)}")
        number, item = loop.variable(), loop.variable()
        each = f"{loop.keep(enumerate)}({found}, 1)"
        if keep:
            nothing = loop.keep(((None, None),))
            loop.for_each(f"for {number}, {item} in ({nothing} if not {found} else (*{nothing}, *{each})):")
        else:
            loop.for_each(f"for {number}, {item} in ({each} if {found} else ()):")
        for name, variable, hint in zip(added, (item, number), (Any, int | None), strict=False):
            loop.append(name, Code(variable, hint))

    def make(_: Context) -> Fusible:
        loops: dict[type, Expand] = {}

        def expanded(rows: list[Row], reject: Reject) -> list[Row]:
            kept, lists = items_of(rows, reject)
            if not set(map(type, lists)) <= _LISTS:
                kept, lists = _with_lists(kept, lists, items, reject)
            kinds = set(map(type, kept))
            for kind in kinds - loops.keys():
                loops[kind] = _expand(kind, added, keep=keep)
            if len(kinds) == 1:
                return loops[kinds.pop()](kept, lists)
            return [made for row, found in zip(kept, lists, strict=True) for made in loops[type(row)]([row], [found])]

        return Fusible(expanded, write)

    return lift(source, make)


@fields_of(explode)
def _fields(known: KnownFields, /, items: str, into: str, index: str | None, **_: object) -> KnownFields:
    known.check(items, "items")
    return known.plus(into, *([] if index is None else [index]))


def _with_lists(rows: list[Row], lists: list[Any], items: str, reject: Reject) -> tuple[list[Row], list[Any]]:
    """The rows that have a list, or nothing, and those; the others are rejected."""
    kept = []
    for row, found in zip(rows, lists, strict=True):
        if type(found) in _LISTS:
            kept.append((row, found))
        else:
            reject(row, TypeError(f"{items!r} must be a list; got {type(found).__name__}"))
    return [row for row, _ in kept], [found for _, found in kept]


def _expand(kind: type, added: tuple[str, ...], *, keep: bool) -> Expand:
    """Generate the loop over rows of one type."""
    values = ("i", "n")[: len(added)]
    nothing = ("None",) * len(added)
    if issubclass(kind, dict):
        wider: type = dict
        one, none = (
            f"{{**r, {', '.join(f'{name!r}: {value}' for name, value in zip(added, made, strict=True))}}}"
            for made in (values, nothing)
        )
    else:
        fields = {name: hint for name, hint in field_types(kind).items() if name not in added}
        wider = row_struct(kind.__name__, fields | dict.fromkeys(added[:1], Any) | dict.fromkeys(added[1:], int | None))
        old = [f"r.{name}" for name in fields]
        one, none = (f"T({', '.join([*old, *made])})" for made in (values, nothing))
    source = [
        "def expand(rows, lists):",
        "    made = []",
        "    append = made.append",
        "    for r, items in zip(rows, lists):",
        *([f"        append({none})"] if keep else []),
        "        if items:",
        f"            for {'i in items' if len(added) == 1 else 'n, i in enumerate(items, 1)'}:",
        f"                append({one})",
        "    return made",
    ]
    scope: dict[str, Any] = {"T": wider}
    exec(compile("\n".join(source), "<explode>", "exec"), scope)  # noqa: S102  # made above; of a user only names
    expand: Expand = scope["expand"]
    return expand
