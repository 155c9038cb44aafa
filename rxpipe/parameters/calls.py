"""Python functions named in a graph as `module:name`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

from rxpipe.errors import FunctionError, did_you_mean, nearest
from rxpipe.parameters.plain import Checked, kept

F = TypeVar("F", bound=Callable[..., Any])


def function_named(call: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function that `module:name` names; a function is itself. Its module is imported, which runs its code.

    Raises:
        FunctionError: The text has another form, the module cannot be imported, or has no such function.
    """
    if callable(call):
        return call
    module_name, colon, name = call.partition(":")
    if not colon or not module_name or not name:
        msg = f"a function must be written 'module:name'; got {call!r}"
        raise FunctionError(msg)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        _refuse_module(call, module_name, error)
    at = len(module_name) + 1
    for part in name.split("."):
        if not hasattr(found, part):
            msg = f"{call!r}: {module_name!r} must have a function {name!r}{did_you_mean(nearest(part, dir(found)))}"
            raise FunctionError(msg, at)
        found = getattr(found, part)
        at += len(part) + 1
    if not callable(found):
        msg = f"{call!r} must be a function; got {found!r:.80}"
        raise FunctionError(msg, len(module_name) + 1)
    function: Callable[..., Any] = found
    return function


def _refuse_module(call: str, module: str, error: BaseException) -> NoReturn:
    """Raise the error of a module that cannot be imported; of one that is not there, with the name nearest to it."""
    reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    guess, column = None, 0
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and f"{module}.".startswith(f"{missing}."):
        package, dot, last = missing.rpartition(".")
        folders = getattr(sys.modules.get(package), "__path__", []) if dot else None
        near = nearest(last, [found.name for found in pkgutil.iter_modules(folders)])
        guess = near and f"{package}{dot}{near}"
        column = len(package + dot)
        reason += did_you_mean(guess) or ("" if dot else "; install it, or name its folder in PYTHONPATH")
    msg = f"{call!r}: module {module!r} must be importable; got {reason}"
    raise FunctionError(msg, column) from error


Function = Annotated[str | F, Checked(kept(function_named), pattern="^[^:]+:[^:]+$")]
"""A function of the type in brackets, or `module:name` of one, which is looked for when the graph is checked."""


def records_made(result: Any) -> list[Any]:
    """The records that a function called with one record made of it: it returns one, a list of them, or None.

    Raises:
        TypeError: It returned something else.
    """
    if result is None:
        return []
    records = result if isinstance(result, list) else [result]
    for record in records:
        if not isinstance(record, dict):
            msg = f"the function must return a dict, a list of dicts or None; got {type(record).__name__}"
            raise TypeError(msg)
    return records
