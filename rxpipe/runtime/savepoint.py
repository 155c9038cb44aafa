"""Savepoints: the state of a graph as of one checkpoint in a file of its own, which a run can go back to."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from rxpipe.errors import StateError
from rxpipe.log import logger
from rxpipe.private import make_folder, sync_folder
from rxpipe.runtime.adoption import adopt, spool_of
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.statereading import open_readonly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rxpipe.language.plan import Plan


def savepoint(state: Path | str, to: Path | str) -> None:
    """Copy the last checkpoint of a state file to a file, also while a run uses it.

    Args:
        state: The state file.
        to: The savepoint; made with its folder, private to the user.

    Raises:
        StateError: There is no such state file, or `to` is there already; or a run has data beside its state file that
            moves on, and must be stopped first, or asked itself: `run.savepoint(to)`.
    """
    state = Path(state).expanduser()
    if not state.is_file():
        msg = f"savepoint: the state file must be there; got {state}, which is not: the graph has not run, or elsewhere"
        raise StateError(msg)
    if not any(spool_of(state).glob("*/*")):
        copy_state(state, to)
        return
    file = StateFile(state)  # no other run moves on
    try:
        copy_state(state, to)
    finally:
        file.close()


def copy_state(state: Path, to: Path | str) -> None:
    """Copy a state file as it is now, and what is beside it, which must not change meanwhile.

    Raises:
        StateError: `to` is there already, cannot be written, or the state file cannot be read.
    """
    to = Path(to).expanduser()
    part = to.with_name(f".{to.name}.part")
    if to.exists() or spool_of(to).exists():
        msg = f"savepoint: must be a new file; got {to}, which is there already: name another, or remove it"
        raise StateError(msg)
    try:
        make_folder(to.parent)
        part.unlink(missing_ok=True)  # of a copy that was cut short
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with open_readonly(state) as source, contextlib.closing(sqlite3.connect(part)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whole in itself
        _copy_spool(spool_of(state), spool_of(to))
        part.rename(to)
        sync_folder(to.parent)
    except (OSError, sqlite3.Error) as error:
        msg = f"savepoint: must be a file that can be written; got {to}: {error}"
        raise StateError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def go_back(file: StateFile, savepoint: Path | str, plan: Plan, reset: Iterable[str] = ()) -> None:
    """Make a state file what a savepoint is; what it held is gone. A savepoint that does not fit changes nothing.

    Raises:
        StateError: There is no such savepoint, it is none, or does not fit the graph, see `adopt`.
    """
    source = Path(savepoint).expanduser()
    if not source.is_file():
        msg = f"--from-savepoint: must be a file that `rxpipe state savepoint` made; got {source}, which is not there"
        raise StateError(msg)
    part = file.path.with_name(f".{file.path.name}.part")
    _remove(part)
    try:
        copy_state(source, part)
        fitted = StateFile(part)
        try:
            adopt(fitted, plan, reset)
            shutil.rmtree(spool_of(file.path), ignore_errors=True)
            if spool_of(part).exists():
                spool_of(part).rename(spool_of(file.path))
            fitted.db.backup(file.db)
        finally:
            fitted.close()
    except (OSError, sqlite3.Error) as error:
        msg = f"state file {file.path}: must be one that can be written; got {error}"
        raise StateError(msg) from error
    finally:
        _remove(part)
    logger.info("{} goes back to the savepoint {}", file.path, source)


def _remove(part: Path) -> None:
    """Remove a state file that was made for a while, with all that is beside it."""
    for path in (part, *(part.with_name(f"{part.name}{suffix}") for suffix in ("-wal", "-shm", ".lock"))):
        path.unlink(missing_ok=True)
    shutil.rmtree(spool_of(part), ignore_errors=True)


def _copy_spool(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    shutil.copytree(source, target, copy_function=_copied)
    for folder in (*(path for path in target.rglob("*") if path.is_dir()), target, target.parent):
        sync_folder(folder)


def _copied(source: str, target: str) -> None:
    with Path(source).open("rb") as read, Path(target).open("xb") as written:
        os.fchmod(written.fileno(), 0o600)
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())
