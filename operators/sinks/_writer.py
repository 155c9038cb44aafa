"""What `to_sqlite` does with each element, in its two modes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Change, Context, Cut
from rxpipe.elements import Row
from rxpipe.errors import RxpipeError
from rxpipe.operators.sinks._database import MOST_COLUMNS, Database, Values, values_of
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.operators.sinks._records import records_of
from rxpipe.table import Table

Key = tuple[Any, ...]


class _Sink:
    """What both modes share."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        path: Path,
        table: str,
        *,
        holds: str,
        numbered: bool,
    ) -> None:
        self._context = context
        self.outbox = Outbox(context, scheduler, observer, self._write, self._changes)
        self._saved = self.outbox.state(holds)
        context.written.add(path, "-wal", "-shm", "-journal")
        self.database = Database(path, table, numbered=numbered)

    def _write(self, job: Any) -> None:
        raise NotImplementedError

    def _changes(self) -> Iterable[Change]:
        raise NotImplementedError

    def _values(self, rows: list[Row], leases: Any) -> list[Values]:
        made = []
        columns = self.database.columns()
        for row in rows:
            try:
                values = values_of(row)
            except (TypeError, ValueError, RecursionError) as error:
                self._context.reject(f"cannot be written to SQLite: {error}", row, leases=leases)
                continue
            wider = columns.union(name.lower() for name in values)
            if len(wider) <= MOST_COLUMNS:
                columns = wider
                made.append(values)
            else:
                self._context.reject(
                    "cannot be written to SQLite: the table would have too many columns", row, leases=leases
                )
        return made

    def close(self) -> None:
        """Stop writing."""
        self.outbox.close()
        self.database.close()


class Appending(_Sink):
    """Adds a row for each record."""

    def __init__(
        self, context: Context, scheduler: SchedulerBase | None, observer: ObserverBase[Any], path: Path, table: str
    ) -> None:
        self._told: tuple[int, bytes] | None = None
        holds = f"position in table {table} of {path}: rows, -"
        super().__init__(context, scheduler, observer, path, table, holds=holds, numbered=True)
        value = self._saved.get(b"position").get("")
        if value is not None:
            self._told = msgspec.msgpack.decode(value, type=tuple[int, bytes])
            try:
                self.database.go_back(*self._told)
            except BaseException:
                self.close()
                raise
        elif (last := self.database.position()[0]) > 0:
            self.outbox.behind(f"table {table} of {path}", f"{last:,} rows")

    def take(self, element: Any) -> None:
        """Write an element."""
        leases = getattr(element, "leases", ())
        taken, rows = records_of(element) if self.outbox.news(element) else ([], [])
        for row in taken:
            self._context.reject(
                "a record taken back cannot be taken out of a table in mode 'append'", row, leases=leases
            )
        self.outbox.put(element, self._values(rows, leases))

    def _write(self, rows: list[Values]) -> None:
        if rows:
            with self.database.transaction():
                self.database.grow(rows)
                self.database.insert(rows)

    def _changes(self) -> Iterable[Change]:
        position = self.database.position()
        if position == self._told:
            return ()

        def saved() -> None:
            self._told = position

        return Cut([(b"position", "", msgspec.msgpack.encode(position))], sync=self.database.sync, saved=saved)


class Upserting(_Sink):
    """Keeps one row for each key."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        path: Path,
        table: str,
        key: tuple[str, ...],
    ) -> None:
        self._key = key
        self._written: dict[str, dict[Key, Values | None]] = {}
        self._changed: dict[tuple[str, Key], bool] = {}
        self._dirty = False
        holds = f"keys in table {table} of {path}"
        super().__init__(context, scheduler, observer, path, table, holds=holds, numbered=False)
        for encoded, name, _ in self._saved.items():
            self._written.setdefault(name, {})[tuple(msgspec.msgpack.decode(encoded))] = None

    def take(self, element: Any) -> None:
        """Write an element."""
        leases = getattr(element, "leases", ())
        key = self._key or (element.key if isinstance(element, Table) else ())
        if not key:
            msg = "mode 'upsert' needs 'key', the columns that make a record's key; got none, and the element has none"
            raise RxpipeError(msg)
        taken, rows = records_of(element)
        final: dict[Key, Values | None] = dict.fromkeys(self._keyed(self._values(taken, leases), key, leases))
        final |= self._keyed(self._values(rows, leases), key, leases)
        if isinstance(element, Table):
            final = self._differing(element.name, final)
        self.outbox.put(element, (key, final))

    def _keyed(self, rows: list[Values], key: tuple[str, ...], leases: Any) -> dict[Key, Values]:
        made = {}
        for row in rows:
            if all(name in row for name in key):
                made[tuple(row[name] for name in key)] = row
            else:
                missing = [name for name in key if name not in row]
                self._context.reject(f"a record must have its key; {missing[0]!r} is missing", row, leases=leases)
        return made

    def _differing(self, name: str, rows: dict[Key, Values | None]) -> dict[Key, Values | None]:
        before = self._written.get(name, {})
        changes: dict[Key, Values | None] = {key: None for key in before if key not in rows}
        changes |= {key: row for key, row in rows.items() if before.get(key) != row}
        if self._saved.persistent:
            self._changed |= {(name, key): row is not None for key, row in changes.items()}
        self._written[name] = rows
        return changes

    def _write(self, job: tuple[tuple[str, ...], dict[Key, Values | None]]) -> None:
        key, final = job
        if not final:
            return
        rows = [row for row in final.values() if row is not None]
        with self.database.transaction():
            if rows:
                self.database.grow(rows, key)
            self.database.delete(key, final)
            self.database.insert(rows)
        self._dirty = True

    def _changes(self) -> Iterable[Change]:
        if not self._dirty and not self._changed:
            return ()
        changed, self._changed = self._changed, {}
        self._dirty = False

        def failed() -> None:
            self._changed = changed | self._changed
            self._dirty = True

        rows = ((msgspec.msgpack.encode(key), name, b"" if there else None) for (name, key), there in changed.items())
        return Cut(rows, sync=self.database.sync, failed=failed)

    def close(self) -> None:
        """Stop writing, and let go of the rows."""
        super().close()
        self._written.clear()
