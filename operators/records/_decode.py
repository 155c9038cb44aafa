"""Typed decoding: from declared fields to generated structs and the code that flattens nested objects into rows."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from rxpipe.errors import RxpipeError
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.loop import Loop

FieldType = Literal["any", "str", "int", "float", "number", "bool", "list", "object"]
JsonType = Literal[FieldType, "json"]
"""The types of a field that is decoded; of `json` the text is taken as it is."""

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What sinks and the state file can store."""

TYPES: dict[str, Any] = {
    "any": Any,
    "str": str | None,
    "int": _Int64 | None,
    "float": float | None,
    "number": _Int64 | float | None,
    "bool": bool | None,
    "list": list[Any] | None,
    "object": dict[str, Any] | None,
    "json": str | None,
}
_CONTAINERS = frozenset({"any", "list", "object"})
_NOT_AN_OBJECT = str | int | float | bool | list[Any] | None
"""What may stand in a record where a nested object is declared: the fields inside it are then null."""

_NULL = msgspec.Raw(b"null")

ORIGIN_PATH = "@path"
"""The path of the file that a record came from."""


class Declared(NamedTuple):
    """A declared field: the paths to look at, the first that is there counts, and the type."""

    paths: tuple[str, ...]
    type: str


class _Node(msgspec.Struct):
    """An object on the way to declared fields: `leaves` by JSON key with their type, `nested` objects by JSON key."""

    leaves: dict[str, str] = msgspec.field(default_factory=dict)
    nested: dict[str, _Node] = msgspec.field(default_factory=dict)


Paths = list[str]
"""Holds the path of the file that the objects now in the loop come from."""


def compile_decoder(declared: Mapping[str, Declared]) -> tuple[Any, Callable[[Loop, Paths], None] | None]:
    """Generate the struct to decode a line into, and what writes its flattening to a row into a loop.

    The second is None where the decoded struct is the row: all fields stand at the top of the object.

    Raises:
        RxpipeError: A name that cannot be a field, or a path that is both a value and an object around other fields.
    """
    _check(declared)
    keys = {name: made.paths[0] for name, made in declared.items() if _at_the_top(made)}
    if len(keys) == len(set(keys.values())) == len(declared):
        return _row_type(declared, rename=keys), None
    root = _Node()
    for made in declared.values():
        for path in made.paths:
            if path != ORIGIN_PATH:
                _plant(root, path.split("."), made.type, path)
    row_type = _row_type(declared)
    structs: dict[str, Any] = {}
    decoded = _struct(root, "_r", structs)

    def write(loop: Loop, paths: Paths) -> None:
        places = {ORIGIN_PATH: "_path"}
        loop.before.append(f"_path = {loop.keep(paths)}[0]")
        for line in _flatten(root, "_r", (), {name: loop.keep(struct) for name, struct in structs.items()}, places):
            loop.line(line)
        loop.begin({name: _value(made, loop, places) for name, made in declared.items()}, row_type)

    return decoded, write


def _at_the_top(field: Declared) -> bool:
    """Whether a field is decoded as a value of the line's object."""
    return (
        len(field.paths) == 1 and "." not in field.paths[0] and ORIGIN_PATH not in field.paths and field.type != "json"
    )


def _value(field: Declared, loop: Loop, places: Mapping[str, str]) -> Code:
    """A field's value: what stands at its first path that is there and not null."""
    if field.type == "json":  # made where it is used: it may be long, and is used seldom
        return Code(f"{loop.keep(_text)}({', '.join(places[path] for path in field.paths)})", TYPES["json"])
    *others, text = (places[path] for path in field.paths)
    for other in reversed(others):
        text = f"({other} if {other} is not None else {text})"
    return Code(loop.lazy(text), TYPES[field.type])


def _text(*values: msgspec.Raw | str | None) -> str | None:
    """The JSON text of the first value that is there and not null."""
    for value in values:
        if value is not None and value != _NULL:
            return value if isinstance(value, str) else str(bytes(value), "utf-8", "replace")
    return None


def _check(declared: Mapping[str, Declared]) -> None:
    for name, (paths, _) in declared.items():
        if not paths or not all(part for path in paths for part in path.split(".")):
            got = ", ".join(map(repr, paths)) or "none"
            msg = f"field {name!r}: a path must be keys with dots between them; got {got}"
            raise RxpipeError(msg)
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            msg = f"a field's name must be a Python name without a leading underscore; got {name!r}"
            raise RxpipeError(msg)


def _row_type(declared: Mapping[str, Declared], rename: Mapping[str, str] | None = None) -> type[msgspec.Struct]:
    fields = [(name, TYPES[made.type], None) for name, made in declared.items()]
    tracked = any(made.type in _CONTAINERS for made in declared.values())
    return msgspec.defstruct("Row", fields, rename=rename, gc=tracked)


def _plant(node: _Node, keys: list[str], kind: str, path: str) -> None:
    first, *rest = keys
    if (rest and first in node.leaves) or (not rest and first in node.nested):
        msg = f"a path must be either a value or an object around other fields; {path!r} is both"
        raise RxpipeError(msg)
    if rest:
        _plant(node.nested.setdefault(first, _Node()), rest, kind, path)
    elif node.leaves.setdefault(first, kind) != kind:
        msg = f"a path must have one type; {path!r} is declared as {node.leaves[first]!r} and {kind!r}"
        raise RxpipeError(msg)


def _struct(node: _Node, variable: str, structs: dict[str, Any]) -> type[msgspec.Struct]:
    """The struct of one object, noted under the variable that holds it; fields are a0, a1 … and renamed to the keys."""
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for index, (key, kind) in enumerate(node.leaves.items()):
        fields.append((f"a{index}", msgspec.Raw if kind == "json" else TYPES[kind], None))
        rename[f"a{index}"] = key
    for index, (key, inner) in enumerate(node.nested.items()):
        made = _struct(inner, f"{variable}_n{index}", structs)
        fields.append((f"n{index}", made | _NOT_AN_OBJECT, None))
        rename[f"n{index}"] = key
    made = structs[variable] = msgspec.defstruct("Line", fields, rename=rename, gc=False)
    return made


def _flatten(
    node: _Node, variable: str, keys: tuple[str, ...], structs: Mapping[str, str], places: dict[str, str]
) -> Iterator[str]:
    """Code that puts each leaf below `variable` into a variable of its own."""
    for index, key in enumerate(node.leaves):
        name = f"{variable}_a{index}"
        places[".".join((*keys, key))] = name
        yield f"{name} = {variable}.a{index}"
    for index, (key, inner) in enumerate(node.nested.items()):
        name = f"{variable}_n{index}"
        yield f"{name} = {variable}.n{index}"
        yield f"if _type({name}) is {structs[name]}:"
        yield from (f"    {line}" for line in _flatten(inner, name, (*keys, key), structs, places))
        yield "else:"
        yield f"    {' = '.join(_leaves(inner, name))} = None"


def _leaves(node: _Node, variable: str) -> list[str]:
    found = [f"{variable}_a{index}" for index in range(len(node.leaves))]
    for index, inner in enumerate(node.nested.values()):
        found += _leaves(inner, f"{variable}_n{index}")
    return found
