"""Texts made of records by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row, as_dict
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, Reject, RowsFunction, lift
from rxpipe.language.datafiles import find_file
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._jinja import rendering
from rxpipe.operators.tasks._template import TextOrFile, names_file
from rxpipe.parameters.types import Gt
from rxpipe.parameters.units import Size, nbytes


@operator
def render(
    source: Observable[Records], template: TextOrFile, into: str = "text", limit: Annotated[Size, Gt(0)] = "16MB"
) -> Observable[Records]:
    """Make a text of each record by a Jinja2 template, and put it into a field.

    The fields of the record are the template's variables. It runs in Jinja2's sandbox: it cannot reach attributes
    that begin with an underscore, change values, or call what is not meant for it. Nothing is escaped. A template in a
    file is read once, when the run begins, as are those that it includes, which are beside it. A record goes to
    `errors` where the template uses what it does not have (the message names file, line and name), raises, or makes a
    text of more than `limit` bytes. Completion and errors pass through; nothing is held back.

        source                            -a-|
        render("{{ name | upper }}!")     -b-|
        a: {"name": "ann"}
        b: {"name": "ann", "text": "ANN!"}

    Args:
        template: A file, relative to the folder in which the run is started or to the graph's; or the template itself,
            if it is no file name that ends in `.md`, `.txt`, `.j2`, `.jinja`, `.jinja2` or `.prompt`.
        into: The field that gets the text.
        limit: The most bytes that a text may have.

    Example:
        >>> lesson = render("# {{ title }}{% for word in words %} {{ word }}{% endfor %}")
        >>> rx.of(Batch([{"title": "One", "words": ["a", "b"]}])).pipe(lesson).run().rows[0]["text"]
        '# One a b'

    Raises:
        MissingExtraError: The package `jinja2` is not installed: `pip install 'rxpipe-graphs[batch]'`.
        RxpipeError: There is no such file, or it is no template.
    """

    def make(context: Context) -> RowsFunction:
        file = find_file(template, context.folder) if names_file(template) else None
        text, folder = (template, context.folder) if file is None else (file.read_text("utf-8"), Path(file).parent)
        made = rendering(text, "" if file is None else str(file), folder, nbytes(limit), context.name)

        def rendered(rows: list[Row], reject: Reject) -> list[Row]:
            done: list[Row] = []
            for row in rows:
                record = as_dict(row)
                try:
                    done.append(record | {into: made(record)})
                except ValueError as error:
                    reject(row, error)
            return done

        return rendered

    return lift(source, make)


@fields_of(render)
def _fields(known: KnownFields, /, into: str, **_: object) -> KnownFields:
    return known.plus(into)
