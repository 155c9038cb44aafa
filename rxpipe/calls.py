"""Python functions named in a graph as `module:name`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rxpipe.errors import RxpipeError, did_you_mean, nearest


def function_named(call: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function that `module:name` names; a function is itself.

    Raises:
        RxpipeError: The text has another form, the module cannot be imported, or has no such function.
    """
    if callable(call):
        return call
    module_name, colon, name = call.partition(":")
    if not colon or not module_name or not name:
        msg = f"a function must be written 'module:name'; got {call!r}"
        raise RxpipeError(msg)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        msg = f"{call!r}: module {module_name!r} must be importable; got {error}"
        raise RxpipeError(msg) from error
    for part in name.split("."):
        if not hasattr(found, part):
            msg = f"{call!r}: {module_name!r} must have a function {name!r}{did_you_mean(nearest(part, dir(found)))}"
            raise RxpipeError(msg)
        found = getattr(found, part)
    if not callable(found):
        msg = f"{call!r} must be a function; got {found!r}"
        raise RxpipeError(msg)
    return found  # type: ignore[no-any-return]  # whatever the module has under that name
