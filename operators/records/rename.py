"""Give fields other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reactivex import Observable

from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import looping
from rxpipe.operator import fields_of, operator


@operator
def rename(source: Observable[Records], /, **names: str) -> Observable[Records]:
    """Give fields of each record other names.

    A field keeps its place and its value. All are renamed at once, so that two can swap their names; a field that had
    the new name is gone. A dict without the field stays without it. Completion and errors pass through; nothing is held
    back.

        source                -a-|
        rename(ms="millis")   -b-|
        a: {"ms": 5, "id": 1}
        b: {"millis": 5, "id": 1}

    Args:
        names: The old name of each field and its new one.

    Example:
        >>> rx.of(Batch([{"a": 1, "b": 2, "c": 3}])).pipe(rename(a="b", b="a")).run()
        Batch([{'b': 1, 'a': 2, 'c': 3}])

    Raises:
        ParameterError: Two fields get the same name.
    """
    for number, (old, new) in enumerate(names.items()):
        if new in [*names.values()][:number]:
            problem = ParameterProblem((old,), f"each field must get a name of its own; got {new!r} twice")
            raise ParameterError("rename", [problem])

    def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
        taken = {new for old, new in names.items() if old in record}
        return {names.get(name, name): value for name, value in record.items() if name in names or name not in taken}

    def write(loop: Loop) -> None:
        fields = loop.fields
        if fields is None:
            loop.remake(renamed, dict)
            return
        for old in names if not loop.of_dicts else ():
            loop.value(parse(old))
        loop.replace(renamed(fields))

    step = looping(write)
    return lift(source, lambda _: step)


@fields_of(rename)
def _fields(known: KnownFields, /, **names: str) -> KnownFields:
    for old in names:
        if old.isidentifier():
            known.check(old, old)
    if known.names is None:
        return known
    kept = [name for name in known.names if name in names or name not in names.values()]
    return known.only(*(names.get(name, name) for name in kept))
