"""The operators, by name: `from rxpipe import operators as ops; ops.debounce("100ms")`.

One operator a file, by family; an operator's module is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

if __name__ != "rxpipe.operators":
    _msg = (
        f"this folder is the package rxpipe.operators and must be imported under that name; got {__name__!r}: "
        "start Python outside the checkout's top folder, or take the folder off sys.path"
    )
    raise ImportError(_msg)


def __getattr__(name: str) -> Any:
    from rxpipe.errors import did_you_mean, nearest  # only when a name is asked for
    from rxpipe.registry import built_in

    if name.startswith("_") or name not in built_in():
        from rxpipe.language.elsewhere import ELSEWHERE  # only what is wrong needs a guess

        guess = None if name.startswith("_") else ELSEWHERE.get(name) or nearest(name, built_in())
        msg = f"there is no operator {name!r}{did_you_mean(guess)}"
        raise AttributeError(msg)
    found = getattr(importlib.import_module(built_in()[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    from rxpipe.registry import built_in  # only when the names are asked for

    return sorted(built_in())


class _Package(ModuleType):
    """Keeps `ops.aggregate` the operator: importing the family of that name would otherwise put itself there."""

    def __setattr__(self, name: str, value: object) -> None:
        from rxpipe.registry import built_in  # the engine must be importable without its operators

        if not (isinstance(value, ModuleType) and name in built_in()):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
