"""An independent, slow and plain counter of session logs, to hold the shipped `usage` graph against.

It shares no code with rxpipe. Everything is read into memory, sorted and added up; nothing is incremental.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

PRICES = Path(__file__).parents[2] / "graphs" / "usage_prices.json"
MARKER = re.compile(rb'"usage"\s*:\s*\{')
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)")
COUNTERS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_write_tokens": "write",
    "cache_read_tokens": "read",
}
TOLD = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
)
"""A `usage` without any of these tells of no use."""

BLOCK = timedelta(hours=5)


class UnreadableError(ValueError):
    """A line that looks like use but cannot be read."""


class HalfWrittenError(UnreadableError):
    """A line that is no JSON."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one record; cache writes are kept by lifetime, for they differ in price."""

    input: int
    output: int
    write_5m: int
    write_1h: int
    read: int

    @property
    def write(self) -> int:
        return self.write_5m + self.write_1h

    @property
    def total(self) -> int:
        return self.input + self.output + self.write + self.read


@dataclass(frozen=True, slots=True)
class Record:
    """One use of a model: a response as told by one line, or one advisor item in it."""

    order: tuple[bytes, int, int]
    project: str
    session: str
    time: datetime
    id: str | None
    request: str | None
    side: bool
    model: str | None
    speed: str | None
    tokens: Tokens
    stated_cost: float | None

    @property
    def row(self) -> str | None:
        """Name of the model's row; none for API errors."""
        if self.model is None or self.model == "<synthetic>":
            return None
        return f"{self.model}-fast" if self.speed == "fast" else self.model

    @property
    def rank(self) -> tuple[int, bool, tuple[bytes, int, int]]:
        """The smallest of several records of one response wins."""
        return (-self.tokens.total, self.speed is None, self.order)


def count(
    config_dirs: Iterable[Path | str],
    timezone: str | None = "UTC",
    since: date | str | None = None,
    until: date | str | None = None,
    cost_mode: str = "auto",
    now: float | None = None,
    prices: Path | str | None = None,
) -> dict[str, Any]:
    """Count everything under the config folders; `prices` is a file laid over the shipped one."""
    records, unreadable = read(config_dirs)
    day = _day_of(timezone)
    first, last = _date(since) or date.min, _date(until) or date.max
    winners = sorted((r for r in deduplicate(records) if first <= day(r) <= last), key=attrgetter("order"))
    table = load_prices(PRICES) | (load_prices(prices) if prices else {})
    unknown: set[str] = set()
    counted = [(r, cost(r, cost_mode, table, unknown)) for r in winners]
    models = [(r, c) for r, c in counted if r.row]
    return {
        "totals": _total(counted),
        "models": [{"model": m, **_total(g)} for m, g in _groups(models, lambda r: r.row)],
        "days": [
            {
                "date": d.isoformat(),
                **_total(g),
                "models": [
                    {"model": m, **_total(mg)} for m, mg in _groups([x for x in g if x[0].row], lambda r: r.row)
                ],
            }
            for d, g in _groups(counted, day)
        ],
        "sessions": [
            {"project": p, "session": s, **_total(g)}
            for (p, s), g in _groups(counted, lambda r: (r.project, r.session))
        ],
        "projects": [{"project": p, **_total(g)} for p, g in _groups(counted, lambda r: r.project)],
        "blocks": list(_blocks(counted, datetime.fromtimestamp(time.time() if now is None else now, UTC))),
        "unreadable": unreadable,
        "unknown_models": sorted(unknown),
    }


# Reading


def read(config_dirs: Iterable[Path | str]) -> tuple[list[Record], int]:
    """All records below the config folders, and the number of lines that could not be read."""
    records: list[Record] = []
    unreadable = 0
    for path, project, session in _files(config_dirs):
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            if not MARKER.search(line):
                continue
            try:
                found = list(_records(line, (os.fsencode(path), number), project, session))
            except HalfWrittenError:
                unreadable += number < len(lines) - 1  # as the last line may be
            except UnreadableError:
                unreadable += 1
            else:
                records += found
    return records, unreadable


def _files(config_dirs: Iterable[Path | str]) -> Iterator[tuple[Path, str, str]]:
    roots: dict[Path, Path] = {}
    for folder in map(Path, config_dirs):
        root = folder if folder.name == "projects" and not (folder / "projects").is_dir() else folder / "projects"
        roots.setdefault(root.resolve(), root)
    for root in roots.values():
        for parent, _, names in os.walk(root):
            for name in names:
                path = Path(parent, name)
                if path.suffix == ".jsonl" and path.is_file() and not path.is_symlink():
                    yield path, *place(path.relative_to(root))


def place(path: Path) -> tuple[str, str]:
    """Project and session of a path below `projects`: its first two names."""
    if len(path.parts) == 1:
        return "unknown", path.stem
    return path.parts[0], path.parts[1].removesuffix(".jsonl")


def _records(line: bytes, place_: tuple[bytes, int], project: str, session: str) -> Iterator[Record]:
    try:
        outer = json.loads(line.decode(errors="replace"), parse_constant=_refuse)
    except ValueError as error:
        raise HalfWrittenError("not JSON") from error
    if not isinstance(outer, dict):
        raise UnreadableError("not an object")
    inner = _object(_object(outer, "data"), "message")  # progress of a sub-agent wraps the sub-agent's line
    for envelope in (outer, inner):
        message = _object(envelope, "message")
        usage = message.get("usage")
        if isinstance(usage, dict) and any(usage.get(counter) is not None for counter in TOLD):
            break
    else:
        return
    moment = _time(envelope.get("timestamp"))
    identity = _optional(message, "id", str) or None
    common: dict[str, Any] = {
        "project": project,
        "session": session,
        "time": moment,
        "request": _optional(envelope, "requestId", str) or None,
        "side": _optional(envelope, "isSidechain", bool) or False,
    }
    yield Record(
        order=(*place_, 0),
        id=identity,
        model=_optional(message, "model", str) or None,
        speed=_optional(usage, "speed", str),
        tokens=_tokens(usage),
        stated_cost=_optional(envelope, "costUSD", int, float),
        **common,
    )
    for index, (model, speed, tokens) in enumerate(_advisors(usage.get("iterations")), 1):
        own = identity and f"{identity} advisor {index}"
        yield Record(
            order=(*place_, index), id=own, model=model, speed=speed, tokens=tokens, stated_cost=None, **common
        )


def _time(value: object) -> datetime:
    """An RFC 3339 time with its zone; digits past the microsecond are dropped."""
    if not isinstance(value, str) or not TIMESTAMP.fullmatch(value):
        raise UnreadableError("timestamp")
    try:
        return datetime.fromisoformat(re.sub(r"\.(\d+)", lambda m: f".{m[1]:0<6.6}", value.upper())).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnreadableError("timestamp") from error


def _advisors(items: object) -> list[tuple[str, str | None, Tokens]]:
    """The advisor's share of the iterations; an item that is not as expected says nothing."""
    found = []
    for item in items if isinstance(items, list) else []:
        with suppress(UnreadableError, TypeError, KeyError):
            if item["type"] == "advisor_message" and (model := _optional(item, "model", str)):
                found.append((model, _optional(item, "speed", str), _tokens(item)))
    return found


def _tokens(usage: dict[str, Any]) -> Tokens:
    split = _optional(usage, "cache_creation", dict)
    return Tokens(
        input=_counter(usage, "input_tokens"),
        output=_counter(usage, "output_tokens"),
        write_5m=_counter(usage, "cache_creation_input_tokens")
        if split is None
        else _counter(split, "ephemeral_5m_input_tokens"),
        write_1h=0 if split is None else _counter(split, "ephemeral_1h_input_tokens"),
        read=_counter(usage, "cache_read_input_tokens"),
    )


def _counter(usage: dict[str, Any], key: str) -> int:
    value: int = _optional(usage, key, int) or 0
    if value < 0:
        raise UnreadableError(key)
    return value


def _optional(values: dict[str, Any], key: str, *types: type) -> Any:
    value = values.get(key)
    if value is not None and type(value) not in types:
        raise UnreadableError(key)
    return value


def _object(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# Counting


def deduplicate(records: Iterable[Record]) -> list[Record]:
    """One record a response: those of the main chain by request, else one of all side chains."""
    winners: list[Record] = []
    by_id: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        (winners if record.id is None else by_id[record.id]).append(record)
    for same in by_id.values():
        by_request: defaultdict[str | None, list[Record]] = defaultdict(list)
        for record in same:
            if not record.side:
                by_request[record.request].append(record)
        winners += [min(group, key=attrgetter("rank")) for group in by_request.values() or [same]]
    return winners


def load_prices(path: Path | str) -> dict[str, dict[str, float]]:
    """Price rows by model, with what may be left out filled in."""
    table = {}
    for row in json.loads(Path(path).read_bytes())["prices"]:
        full = {"cache_write": 0.0, "cache_write_1h": 2 * row["input"], "cache_read": 0.0, "fast": 1}
        full |= {key: value for key, value in row.items() if value is not None}
        for key in ("input", "output", "cache_write", "cache_read"):
            full.setdefault(f"{key}_above", full[key])
        full.setdefault("cache_write_1h_above", 2 * full["input_above"])
        table[row["model"]] = full
    return table


def cost(record: Record, mode: str, table: dict[str, dict[str, float]], unknown: set[str]) -> float:
    """Dollars of one record; a model without a price is put down in `unknown`."""
    if mode == "display" or (mode == "auto" and record.stated_cost is not None):
        return record.stated_cost or 0.0
    if record.row is None or record.model is None:
        return 0.0
    if record.model not in table:
        unknown.add(record.model)
        return 0.0
    price, tokens = table[record.model], record.tokens
    parts = {
        "input": tokens.input,
        "output": tokens.output,
        "cache_write": tokens.write_5m,
        "cache_write_1h": tokens.write_1h,
        "cache_read": tokens.read,
    }
    dollars = sum(min(n, 200_000) * price[k] + max(n - 200_000, 0) * price[f"{k}_above"] for k, n in parts.items())
    return dollars / 1e6 * (price["fast"] if record.speed == "fast" else 1)


Counted = list[tuple[Record, float]]


def _groups(counted: Counted, key: Callable[[Record], Any]) -> list[tuple[Any, Counted]]:
    groups: defaultdict[Any, Counted] = defaultdict(list)
    for record, dollars in counted:
        groups[key(record)].append((record, dollars))
    return sorted(groups.items())


def _total(counted: Counted) -> dict[str, float]:
    tokens = [r.tokens for r, _ in counted]
    columns = ("input", "output", "write", "read")
    sums: dict[str, float] = {
        name: sum(getattr(t, c) for t in tokens) for name, c in zip(COUNTERS, columns, strict=True)
    }
    return {**sums, "cost": sum(dollars for _, dollars in counted)}


def _blocks(counted: Counted, now: datetime) -> Iterator[dict[str, Any]]:
    blocks: list[tuple[datetime, Counted]] = []
    previous = datetime.min.replace(tzinfo=UTC)
    for record, dollars in sorted(counted, key=lambda pair: pair[0].time):
        if not blocks or record.time - blocks[-1][0] > BLOCK or record.time - previous > BLOCK:
            blocks.append((record.time.replace(minute=0, second=0, microsecond=0), []))
        blocks[-1][1].append((record, dollars))
        previous = record.time
    for start, group in blocks:
        end = start + BLOCK
        yield {"start": _iso(start), "end": _iso(end), "active": now < end, **_total(group)}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day_of(timezone: str | None) -> Callable[[Record], date]:
    zone = ZoneInfo(timezone) if timezone else None
    return lambda record: record.time.astimezone(zone).date()


def _date(value: date | str | None) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value
