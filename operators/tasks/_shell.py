"""What `shell` does: a program started without a shell, output kept within bounds, all its processes killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Collection
from typing import Any, NamedTuple

from rxpipe.context import Context
from rxpipe.errors import MissingExtraError
from rxpipe.operators.tasks._asking import Ticket
from rxpipe.operators.tasks._template import Template, template
from rxpipe.providers.provider import CallError
from rxpipe.tasks.kinds import Kind

TEMPORARY = 75
"""The exit status that says that the failure may pass; `EX_TEMPFAIL` of sysexits.h."""

_BLOCK = 64 * 1024
_SHOWN = 500
_MARK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HELD = re.compile("\ue000(\\d+)\ue001")


class _Kept(NamedTuple):
    """The beginning of what a program wrote, and whether there was more."""

    text: str
    cut: bool


def arguments(command: str | list[str]) -> list[str]:
    r"""The templates of a command's arguments; a text is taken apart before anything is put into it.

    Raises:
        ValueError: The text has a quote without its other, or there is no program.

    Example:
        >>> arguments("grep -- {{ word | default('a b') }} 'my file'")
        ['grep', '--', "{{ word | default('a b') }}", 'my file']
    """
    if isinstance(command, str):
        marks: list[str] = []

        def hold(mark: re.Match[str]) -> str:
            marks.append(mark[0])
            return f"\ue000{len(marks) - 1}\ue001"

        parts = shlex.split(_MARK.sub(hold, command.translate({0xE000: None, 0xE001: None})))
        command = [_HELD.sub(lambda held: marks[int(held[1])], part) for part in parts]
    if not command:
        msg = "command: must name a program; got nothing"
        raise ValueError(msg)
    return command


def checked_command(command: str | list[str]) -> None:
    """Look at a command when a graph is checked.

    Raises:
        ValueError: It is not written as a command must be.
    """
    with contextlib.suppress(MissingExtraError):  # the run will tell
        _templates(command)


def _templates(command: str | list[str]) -> list[Template]:
    return [template(part, "command") for part in arguments(command)]


class Shell:
    """What is done with a record; see `Work`.

    Args:
        context: The step.
        command: The program and its arguments.
        stdin: The template of what it reads.
        expect: The exit statuses of success.
        into: The field that is added.
        largest: How many bytes are kept of what it writes.
        paid: Whether what it gave is remembered.
    """

    def __init__(
        self,
        context: Context,
        command: str | list[str],
        stdin: str | None,
        expect: Collection[int],
        into: str,
        largest: int,
        *,
        paid: bool,
    ) -> None:
        self._context = context
        self._command = _templates(command)
        self._stdin = None if stdin is None else template(stdin, "stdin")
        self._expect = expect
        self._into = into
        self._largest = largest
        self._paid = paid

    async def do(self, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
        """What the program of a record printed."""
        command = [fill(record) for fill in self._command]
        stdin = None if self._stdin is None else self._stdin(record)
        plain = [command, stdin]
        output = ticket.recall(plain) if self._paid else None
        if output is None:
            if not ticket.begin():
                return None
            output = await run(command, None if stdin is None else stdin.encode(), self._largest)
            if output["status"] not in self._expect:
                raise _failure(command[0], output)
            if self._paid:
                ticket.remember(plain, output)
        return {self._into: output}

    async def close(self) -> None:
        """There is nothing to close."""


async def run(command: list[str], stdin: bytes | None, largest: int) -> dict[str, Any]:
    """Run a program as the leader of a group of processes, which ends with whoever waits for it.

    Args:
        command: The program and its arguments.
        stdin: What it reads.
        largest: How many bytes are kept of what it writes.
    """
    process = await _started(command, PIPE if stdin is not None else DEVNULL)
    try:
        reading = asyncio.gather(_kept(process.stdout, largest), _kept(process.stderr, largest))
        (out, err), status, _ = await asyncio.gather(reading, process.wait(), _fed(process, stdin))
    except BaseException:
        await _killed(process)
        raise
    return {"status": status, "stdout": out.text, "stderr": err.text, "cut": out.cut or err.cut}


async def _started(command: list[str], stdin: int) -> Process:
    """Start a program; who is cancelled meanwhile leaves none behind."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=PIPE, stderr=PIPE, start_new_session=True)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            await _killed(await starting)
        raise


async def _fed(process: Process, stdin: bytes | None) -> None:
    if process.stdin is not None and stdin is not None:
        with contextlib.suppress(ConnectionError):  # it need not read it
            process.stdin.write(stdin)
            await process.stdin.drain()
        process.stdin.close()


async def _kept(stream: asyncio.StreamReader | None, most: int) -> _Kept:
    """The beginning of what is written to a stream, which is read up to its end."""
    kept, cut = bytearray(), False
    while stream is not None and (block := await stream.read(_BLOCK)):
        room = most - len(kept)
        kept += block[:room]
        cut = cut or len(block) > room
    return _Kept(kept.decode("utf-8", "replace"), cut)


async def _killed(process: Process) -> None:
    """Kill a program with its group, and wait for its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # a process outside the group may hold its pipes open


def _failure(program: str, output: dict[str, Any]) -> CallError:
    status = output["status"]
    ended = f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
    kind: Kind = "interrupted" if status < 0 else "server" if status == TEMPORARY else "other"
    told = output["stderr"].strip()[-_SHOWN:]
    return CallError(f"{os.path.basename(program)} ended with {ended}" + (f": {told}" if told else ""), kind)
