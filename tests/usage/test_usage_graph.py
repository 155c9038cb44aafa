"""The shipped graph `usage` against the reference counter: cold, live, and stopped and started again."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

import rxpipe
from rxpipe.graph import Graph
from rxpipe.runtime.asyncrun import AsyncRun
from rxpipe.runtime.output import Output

from .logs import tree, write
from .reference import count
from .test_reference import DROPPED, HAIKU, QUIRKS, WHOLE, expected, line, ours, theirs

ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Europe/Berlin"]
MODES = ["auto", "calculate", "display"]
DAYS = ["", "2026-03-06", "2026-03-07", "20260308", "2026-03-09"]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return rxpipe.load("usage")


def begun(graph: Graph, folder: Path, out: io.StringIO, **options: Any) -> AsyncRun:
    """A run that prints its document when it ends."""
    values = {"paths": [str(folder)], "timezone": "UTC", **options.pop("values", {})}
    output = Output(out, json=True, once=options.get("once", False))
    return AsyncRun(graph, values=values, output=output, **options)


def cold(graph: Graph, folder: Path, state: Path | None = None, **values: Any) -> dict[str, Any]:
    """The document of one pass over what is there."""
    out = io.StringIO()

    async def go() -> None:
        async with begun(graph, folder, out, once=True, state=state, values=values) as run:
            await run.wait()

    asyncio.run(go())
    made: dict[str, Any] = json.loads(out.getvalue())
    return made


def close(value: Any) -> Any:
    """The same document, with costs that may differ by a millionth of a dollar."""
    if isinstance(value, dict):
        return {name: close(part) for name, part in value.items()}
    if isinstance(value, list):
        return [close(part) for part in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


# Cold


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timezone", [*ZONES, "local"])
def test_the_quirks(graph: Graph, timezone: str, mode: str) -> None:
    zone = None if timezone == "local" else timezone
    assert cold(graph, QUIRKS, timezone=timezone, cost_mode=mode) == close(count([QUIRKS], zone, cost_mode=mode))


@pytest.mark.parametrize(
    ("name", "timezone", "mode"),
    [
        ("daily_UTC", "UTC", "auto"),
        ("daily_America_New_York", "America/New_York", "auto"),
        ("daily_UTC_mode_calculate", "UTC", "calculate"),
        ("daily_UTC_mode_display", "UTC", "display"),
    ],
)
def test_days_are_those_of_ccusage(graph: Graph, agreed: Path, name: str, timezone: str, mode: str) -> None:
    wanted, got = expected(name), cold(graph, agreed, timezone=timezone, cost_mode=mode)
    assert {r["date"]: theirs(r) for r in wanted["daily"]} == {r["date"]: ours(r) for r in got["days"]}
    for theirs_day, ours_day in zip(wanted["daily"], got["days"], strict=True):
        models = {r["modelName"]: theirs(r, "cost") for r in theirs_day["modelBreakdowns"]}
        assert models == {r["model"]: ours(r) for r in ours_day["models"]}
    assert theirs(wanted["totals"]) == ours(got["totals"])
    assert wanted["totals"].get("unpricedModels", []) == got["unknown_models"]


def test_sessions_are_those_of_ccusage_but_for_two_that_differ_on_purpose(graph: Graph, agreed: Path) -> None:
    wanted = {row["sessionId"]: theirs(row) for row in expected("session_UTC")["sessions"]}
    got = {row["session"]: ours(row) for row in cold(graph, agreed)["sessions"]}
    assert wanted.pop("sidechain-replay-new-time")[:4] == (20, 100, 200, 6000)
    assert got.pop("sidechain-replay-new-time")[:4] == WHOLE
    assert "agent-progress-only" not in wanted
    assert got.pop("agent-progress-only")[:4] == WHOLE
    assert wanted == got


@pytest.mark.parametrize("name", DROPPED)
def test_what_ccusage_drops_is_counted(graph: Graph, tmp_path: Path, name: str) -> None:
    target = tmp_path / "projects" / "p" / f"{name}.jsonl"
    target.parent.mkdir(parents=True)
    shutil.copy(QUIRKS / "projects" / "-home-u-quirks" / target.name, target)
    got = cold(graph, tmp_path)
    assert (got["unreadable"], *ours(got["totals"])) == (0, *WHOLE, pytest.approx(0.002425))


@pytest.mark.parametrize("seed", range(40))
def test_random_histories(graph: Graph, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    write(tmp_path, tree(rng, odd=seed % 2 == 0))
    values: dict[str, Any] = {"timezone": rng.choice(ZONES), "cost_mode": rng.choice(MODES)}
    first, last = rng.choice(DAYS), rng.choice(DAYS)
    prices = tmp_path / "prices.json" if rng.random() < 0.4 else None
    if prices is not None:
        rows = [{"model": "acme-9b", "input": 1.5, "output": 7}, {"model": "glm-4.6", "input": 1, "output": 2}]
        prices.write_text(json.dumps({"prices": rows}))
    got = cold(graph, tmp_path, **values, since=first, until=last, prices=str(prices or ""))
    assert got == close(count([tmp_path], **values, since=first or None, until=last or None, prices=prices))


def test_an_active_block(graph: Graph, tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    write(tmp_path, [("projects/p/s.jsonl", [line(timestamp=now), line("n")])])
    got = cold(graph, tmp_path)
    assert [block["active"] for block in got["blocks"]] == [False, True]
    assert got == close(count([tmp_path]))


EMPTY: dict[str, Any] = dict.fromkeys(
    ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
)


@pytest.mark.parametrize(
    ("usage", "rows"),
    [
        ({}, 0),
        ({"service_tier": "standard"}, 0),
        (EMPTY, 0),
        ({"iterations": [HAIKU]}, 0),
        ({"input_tokens": 0}, 1),
        ({"cache_creation": {}}, 1),
    ],
)
def test_a_usage_without_any_counter_tells_of_no_use(
    graph: Graph, tmp_path: Path, usage: dict[str, Any], rows: int
) -> None:
    record = json.loads(line())
    record["message"]["usage"] = usage
    write(tmp_path, [("projects/p/s.jsonl", [json.dumps(record).encode() + b"\n"])])
    got = cold(graph, tmp_path)
    assert got == close(count([tmp_path]))
    assert [len(got[part]) for part in ("models", "days", "sessions", "projects", "blocks")] == [rows] * 5
    assert got["unreadable"] == 0


@pytest.mark.parametrize("price", ["5", [5], True])
def test_a_wrong_price_refuses_the_file(graph: Graph, tmp_path: Path, price: Any) -> None:
    write(tmp_path, [("projects/p/s.jsonl", [line()])])
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"prices": [{"model": "claude-opus-4-5", "input": price, "output": 25}]}))
    message = f"look-up file {prices}: 'claude-opus-4-5': 'input' must be of type number; got {price!r}"
    with pytest.raises(rxpipe.RxpipeError, match=re.escape(message)):
        cold(graph, tmp_path, prices=str(prices))


@pytest.mark.parametrize("price", [{"input": 3}, {"output": 3}, {"cache_read": 3}, {}])
def test_a_price_that_says_half_is_none(graph: Graph, tmp_path: Path, price: dict[str, int]) -> None:
    """The tokens count all the same, and the model is named."""
    write(tmp_path, [("projects/p/s.jsonl", [line(model="acme-9b")])])
    (tmp_path / "prices.json").write_text(json.dumps({"prices": [{"model": "acme-9b", **price}]}))
    got = cold(graph, tmp_path, prices=str(tmp_path / "prices.json"))
    assert (got["totals"]["output_tokens"], got["totals"]["cost"]) == (50, 0)
    assert (got["unreadable"], got["unknown_models"]) == (0, ["acme-9b"])


def test_nothing_is_zero(graph: Graph, tmp_path: Path) -> None:
    assert cold(graph, tmp_path) == count([tmp_path])


def test_several_folders_and_one_named_twice(graph: Graph, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [("projects/p/s.jsonl", [line(None)])])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "a" / "projects", tmp_path / "link", tmp_path / "none"]
    got = cold(graph, tmp_path, paths=[str(folder) for folder in folders])
    assert got == close(count(folders))
    assert got["totals"]["output_tokens"] == 100


def test_a_log_whose_name_is_no_unicode(graph: Graph, tmp_path: Path) -> None:
    """It is remembered over restarts like any other, and what it brought is taken back when it goes."""
    state, folder = tmp_path / "state.sqlite", tmp_path / "projects" / "p"
    lines = [line("a"), line("b", usage={"output_tokens": 1000}), line(None)]
    write(tmp_path, [("projects/p/s.jsonl", [line("a"), line("b")])])
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jsonl"))
    odd.write_bytes(b"".join(lines))
    for change in (lambda: None, lambda: odd.write_bytes(b"".join([*lines, line("c")])), odd.unlink):
        change()
        assert cold(graph, tmp_path, state=state)["totals"] == close(count([tmp_path]))["totals"]


def test_paths_as_a_comma_list(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [("projects/p/s.jsonl", [line(None)])])
    graph = rxpipe.load("usage", sets=[f"paths={tmp_path / 'a'},{tmp_path / 'b'}"])
    plan = graph.plan(**rxpipe.language.values.read_sets(graph, [f"paths={tmp_path / 'a'},{tmp_path / 'b'}"]))
    assert plan.values["paths"] == [str(tmp_path / "a"), str(tmp_path / "b")]


# Live


class History:
    """Files that are written in torn pieces, in any order, and also truncated, replaced, removed and renamed."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self.folder = folder
        self.rng = rng
        self.rest = {folder / path: b"".join(lines) for path, lines in tree(rng, sessions=4)}

    def change(self) -> None:
        """Change one file."""
        rng = self.rng
        written = sorted(path for path in self.folder.rglob("*.jsonl") if path.stat().st_size)
        kind = rng.random()
        if kind < 0.8 or not written:
            self.append()
        elif kind < 0.85:
            path = rng.choice(written)
            os.truncate(path, rng.randrange(path.stat().st_size))
            self.rest.pop(path, None)
        elif kind < 0.9:
            path = rng.choice(written)
            new = path.with_suffix(".new")
            new.write_bytes(rng.choice(written).read_bytes()[: rng.randrange(20_000)])
            new.replace(path)
            self.rest.pop(path, None)
        elif kind < 0.95:
            path = rng.choice(written)
            path.unlink()
            self.rest.pop(path, None)
        else:
            path = rng.choice(written)
            path.rename(path.with_name(f"moved-{rng.randrange(10**6)}.jsonl"))
            self.rest.pop(path, None)

    def append(self) -> None:
        """Append a piece, torn anywhere."""
        waiting = sorted(path for path, data in self.rest.items() if data)
        if not waiting:
            return
        path = self.rng.choice(waiting)
        data = self.rest[path]
        size = self.rng.choice([1, 200, 3_000, 100_000])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data[:size])
        self.rest[path] = data[size:]

    def ends(self) -> dict[str, tuple[int, int]]:
        """Of each file the end of the last complete line, and of the last, which an earlier run may have counted."""
        contents = {str(path): path.read_bytes() for path in self.folder.rglob("*.jsonl")}
        return {path: (data.rfind(b"\n") + 1, len(data)) for path, data in contents.items()}


async def until(condition: Callable[[], bool], tell: Callable[[], object], deadline: float = 15.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, tell()
        await asyncio.sleep(0.005)  # between two looks


def offsets(run: AsyncRun) -> dict[str, int]:
    """How far the run has read each file."""
    return {path: file["offset"] for path, file in run.status().files.items()}


STEADY = 0.25
"""Seconds: longer than the graph holds the last event of a file, which may leave its offset as it is."""


async def caught_up(run: AsyncRun, history: History) -> None:
    wanted = history.ends()
    since: float | None = None

    def caught() -> bool:
        nonlocal since
        got, now = offsets(run), time.monotonic()
        same = got.keys() == wanted.keys() and all(got[path] in ends for path, ends in wanted.items())
        since = (now if since is None else since) if same else None
        return since is not None and now - since >= STEADY

    await until(caught, lambda: (offsets(run), wanted))


@pytest.mark.parametrize("seed", range(6))
def test_live_is_as_cold(graph: Graph, tmp_path: Path, seed: int) -> None:
    history = History(tmp_path, Random(seed))
    (tmp_path / "projects").mkdir()
    out = io.StringIO()

    async def go() -> None:
        async with begun(graph, tmp_path, out) as run:
            for _ in range(3):
                for _ in range(40):
                    history.change()
                    await asyncio.sleep(0)  # the run reads meanwhile
                await caught_up(run, history)

    asyncio.run(go())
    assert json.loads(out.getvalue()) == close(count([tmp_path]))


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "stopped"])
@pytest.mark.parametrize("seed", range(3))
def test_started_again_on_changed_files(graph: Graph, tmp_path: Path, seed: int, drained: bool) -> None:
    history = History(tmp_path, Random(100 + seed))
    state = tmp_path / "state.sqlite"
    (tmp_path / "projects").mkdir()

    async def go() -> None:
        async with begun(graph, tmp_path, io.StringIO(), state=state, settings={"checkpoint": "50ms"}) as run:
            for _ in range(20):
                history.change()
                await asyncio.sleep(0.001)  # the run reads meanwhile
            if history.rng.random() < 0.5:
                await caught_up(run, history)
            if not drained:
                run.stop()

    for _ in range(5):
        asyncio.run(go())
        for _ in range(8):
            history.change()  # while nobody looks
        # A pass over what is there tells at once what is no longer there; a run that goes on waits two seconds for it.
        assert cold(graph, tmp_path, state=state) == close(count([tmp_path]))


def test_a_last_line_without_its_end_counts_once_though_it_goes_on_later(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "projects" / "p" / "s.jsonl"
    path.parent.mkdir(parents=True)
    whole = line(None)
    for torn in (whole[:-30], whole[:-1], whole, whole + line(None)[:-1], whole + line(None) + b"{"):
        with path.open("ab") as file:
            file.write(torn[file.tell() :])
        assert cold(graph, tmp_path, state=tmp_path / "state.sqlite") == close(count([tmp_path]))
