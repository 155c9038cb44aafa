"""Records as `name=value` pairs, in which no character can do harm to a terminal or a log."""

from __future__ import annotations

from typing import Any

import orjson

from rxpipe.elements import Row
from rxpipe.errors import escaped
from rxpipe.operators.sinks._records import OPTION, as_record, plain


def pairs(row: Row) -> str:
    """A record as `name=value` pairs; values with spaces or quotes as JSON strings."""
    record = as_record(row)
    fields = record if isinstance(record, dict) else plain(record)
    return " ".join(f"{escaped(str(name))}={_shown(value)}" for name, value in fields.items())


def _shown(value: Any) -> str:
    if isinstance(value, str):
        bare = value.isprintable() and value and not any(char in value for char in ' "=')
        return value if bare else orjson.dumps(value.encode("utf-8", "replace").decode()).decode()
    try:
        return orjson.dumps(value, default=plain, option=OPTION).decode()
    except (TypeError, ValueError, RecursionError):
        return orjson.dumps(repr(value).encode("utf-8", "replace").decode()).decode()
