"""Jinja2, as far as records may use it: in a sandbox, with nothing left undefined, and bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.extras import extra

Render = Callable[[Mapping[str, Any]], str]
"""Makes a text of a record."""

EXTRA = "batch"
"""The extra of this distribution that has what tasks need."""

MOST = 16_000_000
"""Characters that a template may make by a repetition, unless told otherwise."""

_INLINE = "<template>"
_UNDEFINED = re.compile(r"'([^']+)' is undefined")


class TemplateFailedError(ValueError):
    """A template cannot make a text of a record."""


def rendering(text: str, name: str, folder: Path, most: int, where: str) -> Render:
    """What makes a text of a record.

    Args:
        text: The template.
        name: What it is called in messages; empty for one that is no file.
        folder: Where the templates are that it includes, each read once.
        most: Bytes that a text may have.
        where: The step, for messages.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        RxpipeError: It is no template.
    """
    jinja = extra("jinja2", EXTRA, where)
    loader = jinja.FileSystemLoader(folder)
    made = environment(where, most, loader=loader, auto_reload=False, keep_trailing_newline=True)
    try:
        code = made.compile(text, name=name or None, filename=name or _INLINE)
    except jinja.TemplateSyntaxError as error:
        msg = f"{where}: {error.filename or name or _INLINE}:{error.lineno}: {error.message}"
        raise RxpipeError(msg) from error
    template = jinja.Template.from_code(made, code, made.globals)

    def render(record: Mapping[str, Any]) -> str:
        try:
            return _bounded(template.generate(record), most)
        except Exception as error:  # whatever a template raises concerns this record only
            told = _told(error, template.filename, record)
            error.__traceback__ = None  # whoever keeps it must not keep the record and its leases
        raise TemplateFailedError(told)

    return render


def environment(where: str, most: int = MOST, **options: Any) -> Any:
    """A sandbox for templates, in which nothing may be undefined.

    Args:
        where: The step, for messages.
        most: Characters that a repetition may have.
        options: Further options of the environment.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    jinja, sandbox = extra("jinja2", EXTRA, where), extra("jinja2.sandbox", EXTRA, where)

    class Sandbox(sandbox.ImmutableSandboxedEnvironment):  # type: ignore[misc,name-defined]  # a class of a package that need not be there
        """Also keeps a multiplication from making what does not fit into memory."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            sizes = [len(side) for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
            times = [side for side in (left, right) if isinstance(side, int)]
            if operator == "*" and sizes and times and sizes[0] * times[0] > most:
                msg = f"a repetition must have at most {most:,} characters; got {sizes[0]:,} times {times[0]:,}"
                raise sandbox.SecurityError(msg)
            if operator == "**" and all(isinstance(side, int) for side in (left, right)) and abs(right) > 64:
                msg = f"an exponent must be at most 64; got {right}"
                raise sandbox.SecurityError(msg)
            return super().call_binop(context, operator, left, right)

    return Sandbox(undefined=jinja.StrictUndefined, **options)


def _bounded(parts: Any, most: int) -> str:
    made, size = [], 0
    for part in parts:
        size += len(part.encode("utf-8", "surrogatepass"))
        if size > most:
            msg = f"the text must have at most {most:,} bytes; got more"
            raise ValueError(msg)
        made.append(part)
    return "".join(made)


def _told(error: Exception, file: str | None, record: Mapping[str, Any]) -> str:
    """What went wrong, with the file and line of the template, and the nearest field for one that is missing."""
    place = _place(error.__traceback__, file)
    found = _UNDEFINED.search(str(error))
    guess = did_you_mean(nearest(found[1], record)) if found else ""
    return f"{place}: {error}{guess}" if place else f"{type(error).__name__}: {error}"


def _place(trace: TracebackType | None, file: str | None) -> str:
    """Where in a template something was raised: the innermost line of one."""
    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "__jinja_exception__" in trace.tb_frame.f_globals or code.co_filename == file:  # a frame as Jinja2 shows it
            found = f"{code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
