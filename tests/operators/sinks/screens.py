"""Screens of panels, for the tests of `to_terminal`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._screen import Screen, Tables
from rxpipe.runtime.status import Backlog, StreamStatus
from rxpipe.table import Table

MODELS = [
    {"model": "claude-opus-4-5-20251101", "input": 1_234_567, "output": 8_345, "cost": 912.3456},
    {"model": "glm-4.6", "input": 0, "output": 3_678, "cost": 0.06},
    {"model": "claude-haiku-4-5-20251001", "input": 834_123, "output": 345_678, "cost": 1012.06},
]
BLOCK = [
    {
        "start": 1_795_230_000.0,
        "end": 1_795_248_000.0,
        "tokens": 23_456_789,
        "burn": 2606.3,
        "share": 0.25,
        "left": 8040,
    }
]
PANELS: list[dict[str, Any]] = [
    {
        "table": "models",
        "title": "Models",
        "sort": "-cost",
        "total": "Total",
        "priority": 2,
        "columns": {
            "Model": "model",
            "Input": {"field": "input", "format": "si"},
            "Both": {"field": "input + output", "format": "int"},
            "": {"field": "cost", "format": "bar", "width": 8},
            "Cost": {"field": "cost", "format": "usd", "priority": 1},
        },
    },
    {
        "table": "block",
        "title": "Active block",
        "kind": "figures",
        "priority": 1,
        "empty": "no block is active",
        "columns": {
            "Time": {"field": "start", "to": "end", "format": "time"},
            "Burn rate": {"field": "burn", "format": "si", "unit": "/min"},
            "Left": {"field": "left", "format": "duration"},
            "Passed": {"field": "share", "format": "bar"},
        },
    },
    {"table": "block", "kind": "line", "title": "Now", "columns": {"tokens": {"field": "tokens", "format": "si"}}},
]


def table(name: str, rows: list[Any], version: int = 1, key: tuple[str, ...] = ()) -> Table:
    return Table(name, key, lambda: rows, lambda: version)


def screen(panels: Any = PANELS, **tables: Any) -> Screen:
    kept = Tables()
    for name, rows in (tables or {"models": MODELS, "block": BLOCK}).items():
        kept.take(table(name, rows))
    made = Screen(kept, TypeAdapter(list[Panel]).validate_python(list(panels)), "Title", ZoneInfo("Europe/Berlin"))
    made.now = 1_795_239_000.0
    made.refresh()
    return made


def status(**parts: Any) -> SimpleNamespace:
    streams = {f"stream{n}": StreamStatus(1, 12.3 * n, 1000.0 * n, 0.5 * n, n) for n in range(6)}
    given_parts: dict[str, Any] = {
        "state": "running",
        "graph": "usage",
        "errors": 3,
        "degraded": None,
        "streams": streams,
    }
    return SimpleNamespace(**(given_parts | {"backlog": Backlog(612e6, 1.24e9, 211e6, 2.9)} | parts))
