"""A program run for each record."""

from __future__ import annotations

from typing import Annotated

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._asking import Work, asking
from rxpipe.operators.tasks._shell import Shell, checked_command
from rxpipe.operators.tasks._template import TemplateText
from rxpipe.parameters.plain import Checked, kept
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, Size, nbytes, seconds
from rxpipe.promises import Inflow, order_of

Command = Annotated[str | list[str], Checked(kept(checked_command))]
"""A program and its arguments: a list of templates, or a text of them."""


@operator
def shell(
    source: Observable[Batch],
    command: Command,
    stdin: TemplateText | None = None,
    expect: list[int] = [0],
    into: str = "output",
    paid: bool = False,
    largest: Size = "1MB",
    concurrency: Annotated[int, Ge(1)] = 16,
    timeout: Annotated[Duration, Gt(0)] = "10m",
) -> Observable[Batch]:
    """Run a program for each record, and add what it prints.

    Added is one field, with the exit `status`, and what it wrote, as `stdout` and `stderr`; of each only the first
    `largest` bytes are kept, and `cut` says whether there was more. Records come as their programs end; all other
    elements keep their place among those that wait.

    No shell reads the command. A text is taken apart as a shell would, by spaces and quotes, before anything is put
    into it: what a template gives is always part of one argument, whatever it holds. Where an argument is a value
    alone, put `--` before it, lest the program take one that begins with `-` for an option. For pipes and the like,
    give the shell its script, and the values as its arguments: `[sh, -c, 'grep "$1" | sort', sh, "{{word}}"]`.

    A program that ends with a status that is not expected sends its record to `errors`, with the end of what it wrote
    to stderr; of a task, the attempt fails for good, but for status 75, by which programs say that it may pass, and
    where a signal has ended it. A program that takes longer than `timeout`, or is unsubscribed from, is killed, and
    with it the group of processes that it leads.

    At most `concurrency` records wait for their program: then the sources of the run are held, unless they are tasks,
    which wait in their store. Completion waits for all programs; an error passes at once.

    Args:
        command: The program and its arguments, Jinja2 templates over the record's fields: a list, or a text of them.
        stdin: What the program reads, a template.
        expect: The exit statuses of success.
        into: The field that is added.
        paid: Whether what a program gave for a task is noted in its store, so that it is not run again for the same.
        largest: How many bytes are kept of what it writes.
        concurrency: How many programs run at a time.
        timeout: How long one may run.

    Example:
        >>> run = shell("printf '%s, %s!' Hello {{name}}")
        >>> rx.of(Batch([{"name": "$(id); x"}])).pipe(run).run().rows[0]["output"]["stdout"]
        'Hello, $(id); x!'

    Raises:
        MissingExtraError: The package `jinja2` is not installed.
    """

    def make(context: Context) -> Work:
        return Shell(context, command, stdin, expect, into, nbytes(largest), paid=paid)

    return asking(source, make, concurrency, seconds(timeout))


@fields_of(shell)
def _fields(known: KnownFields, /, into: str, **_: object) -> KnownFields:
    return known.plus(into)


@order_of(shell)
def _order(_: Inflow, /, **__: object) -> str:
    return "records come as their programs end"
