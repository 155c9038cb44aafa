"""Texts made of records by Jinja2 templates, in a sandbox; and the files that they are in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from rxpipe.errors import MissingExtraError, RxpipeError
from rxpipe.extras import extra
from rxpipe.language.datafiles import Counts, find_file, known_folder
from rxpipe.operators.tasks._jinja import EXTRA, environment
from rxpipe.parameters.plain import Checked, kept

_FILE = re.compile(r"[^\s{}]+\.(?:md|txt|j2|jinja|jinja2|prompt)")
"""What is the name of a file, and no text."""

Template = Callable[[Mapping[str, Any]], str]
"""From a record to a text."""


def template(text: str, where: str, encode: Callable[[Any], Any] | None = None) -> Template:
    """A template as a function of a record, whose fields it knows by name, and all of it as `record`.

    Args:
        text: The template.
        where: What it is for, for messages.
        encode: What becomes of each value that is put into the text.

    Raises:
        ValueError: It is not written as a template must be; the function raises it where a record has no such field.
        MissingExtraError: Jinja2 is not installed.
    """
    if "{" not in text:
        return lambda _: text
    jinja2 = extra("jinja2", EXTRA, where)
    try:
        made = _environment(encode).from_string(text)
    except jinja2.TemplateError as error:
        msg = f"{where}: must be a template: line {getattr(error, 'lineno', 1)}: {error}"
        raise ValueError(msg) from None

    def filled(record: Mapping[str, Any]) -> str:
        try:
            return str(made.render({**record, "record": record}))
        except (jinja2.TemplateError, TypeError, ArithmeticError, LookupError) as error:
            msg = f"{where}: {error}"
            raise ValueError(msg) from None

    return filled


@cache
def _environment(encode: Callable[[Any], Any] | None) -> Any:
    return environment("template", finalize=encode)


def text_or_file(given: str, folder: Path) -> str:
    """What is in the file that is named; or the text itself, if it names none.

    Raises:
        RxpipeError: There is no such file.
    """
    return find_file(given, folder).read_text(encoding="utf-8") if names_file(given) else given


def names_file(given: str) -> bool:
    """Whether what is given in the place of a file is the name of one, and not the text itself."""
    return _FILE.fullmatch(given) is not None


def _check(given: str) -> None:
    """Look at a template when a graph is checked, as far as it is at hand."""
    if names_file(given):
        path = _looked_for(given)
        if path is None:
            return
        given = path.read_text(encoding="utf-8")
    _check_template(given)


def _check_template(given: str) -> None:
    try:
        template(given, "template")
    except MissingExtraError:
        return  # the run will tell


def _looked_for(name: str) -> Path | None:
    """The file of a name, while the folder of a graph is known; an empty name is none."""
    folder = known_folder()
    try:
        return find_file(name, folder) if name and folder is not None else None
    except RxpipeError as error:
        raise ValueError(str(error)) from error  # which is told with its place in the graph


TextOrFile = Annotated[str, Checked(kept(_check)), Counts()]
"""A template: a text, or the name of a file with one, which ends in `.md`, `.txt`, `.j2`, `.jinja` or `.prompt`."""

TemplateText = Annotated[str, Checked(kept(_check_template))]
"""A template."""

FileName = Annotated[str, Checked(kept(_looked_for))]
"""A file that must be there when the graph is checked; saved state is as good with another content."""

CountingFile = Annotated[str, Checked(kept(_looked_for)), Counts()]
"""The same, whose content is part of what is made of a task."""
