"""The reference counter against the answers of ccusage 20, and against the rules by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .logs import tree, write
from .reference import PRICES, count, load_prices, place

QUIRKS = Path(__file__).parent / "quirks"
DROPPED = {  # files with a response that ccusage drops and rxpipe counts
    "tool-input-id-null": "a null in a tool's input says nothing about the response",
    "costusd-null": "no stated cost is no reason to lose the tokens",
    "pretty": "white space means nothing in JSON",
    "micros": "a time may have more digits than three",
    "bad-version": "the version that wrote a line is not looked at",
}
WHOLE = (10, 50, 100, 1000)
COUNTERS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
THEIRS = ("inputTokens", "outputTokens", "cacheCreationTokens", "cacheReadTokens")


def ours(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*(row[name] for name in COUNTERS), pytest.approx(row["cost"], abs=1e-6))


def theirs(row: dict[str, Any], cost: str = "totalCost") -> tuple[Any, ...]:
    return (*(row[name] for name in THEIRS), row[cost])


def expected(name: str) -> Any:
    return json.loads((QUIRKS / "expected" / f"ccusage20_{name}.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "timezone", "mode"),
    [
        ("daily_UTC", "UTC", "auto"),
        ("daily_America_New_York", "America/New_York", "auto"),
        ("daily_UTC_mode_calculate", "UTC", "calculate"),
        ("daily_UTC_mode_display", "UTC", "display"),
    ],
)
def test_days_are_those_of_ccusage(agreed: Path, name: str, timezone: str, mode: str) -> None:
    wanted, got = expected(name), count([agreed], timezone, cost_mode=mode)
    assert {r["date"]: theirs(r) for r in wanted["daily"]} == {r["date"]: ours(r) for r in got["days"]}
    for theirs_day, ours_day in zip(wanted["daily"], got["days"], strict=True):
        models = {r["modelName"]: theirs(r, "cost") for r in theirs_day["modelBreakdowns"]}
        assert models == {r["model"]: ours(r) for r in ours_day["models"]}
    assert theirs(wanted["totals"]) == ours(got["totals"])
    assert wanted["totals"].get("unpricedModels", []) == got["unknown_models"]


@pytest.mark.parametrize("name", DROPPED)
def test_what_ccusage_drops_is_counted(tmp_path: Path, name: str) -> None:
    source = QUIRKS / "projects" / "-home-u-quirks" / f"{name}.jsonl"
    target = tmp_path / "projects" / "p" / source.name
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    assert name not in {row["sessionId"] for row in expected("session_UTC")["sessions"]}
    got = count([tmp_path])
    assert (got["unreadable"], *ours(got["totals"])) == (0, *WHOLE, pytest.approx(0.002425))


def test_sessions_are_those_of_ccusage(agreed: Path) -> None:
    wanted = {row["sessionId"]: theirs(row) for row in expected("session_UTC")["sessions"]}
    got = {row["session"]: ours(row) for row in count([agreed])["sessions"]}
    # Its sessions, other than its days, take a side-chain replay with another time for a second response ...
    assert wanted.pop("sidechain-replay-new-time")[:4] == (20, 100, 200, 6000)
    assert got.pop("sidechain-replay-new-time")[:4] == WHOLE
    # ... and leave out a sub-agent's response of which only the progress was logged.
    assert "agent-progress-only" not in wanted
    assert got.pop("agent-progress-only")[:4] == WHOLE
    assert wanted == got


def test_blocks_are_those_of_ccusage(agreed: Path) -> None:
    wanted = [row for row in expected("blocks_UTC")["blocks"] if not row["isGap"]]
    got = count([agreed])["blocks"]
    assert [(r["startTime"], r["endTime"], r["isActive"]) for r in wanted] == [
        (r["start"], r["end"], r["active"]) for r in got
    ]
    names = ("inputTokens", "outputTokens", "cacheCreationInputTokens", "cacheReadInputTokens")
    extra = [
        tuple(w["tokenCounts"][n] - g[c] for n, c in zip(names, COUNTERS, strict=True))
        for w, g in zip(wanted, got, strict=True)
    ]
    replay, progress = (10, 50, 100, 5000), WHOLE  # as with the sessions: one too many, one left out
    assert extra == [tuple(a - b for a, b in zip(replay, progress, strict=True)), (0, 0, 0, 0)]


def test_the_quirks_as_a_whole() -> None:
    got = count([QUIRKS])
    assert ours(got["totals"]) == (350_220, 2020, 102_200, 123_000, pytest.approx(2.934785))
    assert [row["project"] for row in got["projects"]] == ["-home-u-quirks"]
    assert (got["unreadable"], got["unknown_models"]) == (0, ["acme-9b"])


# The rules, case by case


def line(identity: str | None = "m", request: str | None = "r", /, **changes: Any) -> bytes:
    usage = dict(
        zip(
            ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
            WHOLE,
            strict=True,
        )
    )
    usage |= changes.pop("usage", {})
    message = {"id": identity, "model": changes.pop("model", "claude-opus-4-5"), "usage": usage}
    record = {"requestId": request, "timestamp": "2026-10-30T12:00:00.000Z", "message": message, **changes}
    return json.dumps(record).encode() + b"\n"


def counted(folder: Path, *lines: bytes, **options: Any) -> dict[str, Any]:
    write(folder, [("projects/p/s.jsonl", list(lines))])
    return count([folder], **options)


NEXT_DAY = {"timestamp": "2026-10-31T12:00:00.000Z"}
MORE = {"usage": {"output_tokens": 60}}
HAIKU = {"type": "advisor_message", "model": "claude-haiku-4-5", "input_tokens": 3, "output_tokens": 7}


@pytest.mark.parametrize(
    ("lines", "output"),
    [
        pytest.param([line(), line(**MORE), line()], 60, id="the largest wins"),
        pytest.param([line("m", None), line("m", None, **MORE)], 60, id="no request is a request of its own"),
        pytest.param([line("m", None), line("m", "")], 50, id="an empty request is none"),
        pytest.param([line("m", None), line("m", "r", **MORE)], 110, id="a request and none are two"),
        pytest.param([line(None), line(None), line("")], 150, id="no message id: never the same"),
        pytest.param([line("m", "r2", isSidechain=True, **MORE), line()], 50, id="side chain gives way"),
        pytest.param(
            [line("m", "a", isSidechain=True), line("m", "b", isSidechain=True)], 50, id="side chains alone: one"
        ),
        pytest.param([line(usage={"iterations": [HAIKU]}), line(**MORE)], 67, id="advice outlives its line"),
        pytest.param([line(usage={"iterations": [HAIKU, HAIKU]})] * 2, 64, id="advice is deduplicated by place"),
        pytest.param([line(usage={"iterations": [HAIKU, {**HAIKU, "output_tokens": -7}]})], 57, id="bad advice"),
        pytest.param([line(usage={"output_tokens": None, "input_tokens": None})], 0, id="null is nothing"),
        pytest.param([line()[:-1]], 50, id="last line without its end"),
        pytest.param([line(), line()[:40]], 50, id="half a last line"),
        pytest.param([line().replace(b'"id"', b'"x":"\\ud800","id"')], 50, id="lone surrogate"),
        pytest.param([line().replace(b'"id"', b'"x":"\xff","id"')], 50, id="invalid UTF-8"),
    ],
)
def test_deduplication(tmp_path: Path, lines: list[bytes], output: int) -> None:
    got = counted(tmp_path, *lines)
    assert (got["totals"]["output_tokens"], got["unreadable"]) == (output, 0)


@pytest.mark.parametrize(
    "bad",
    [
        line(timestamp=None),
        line(timestamp="yesterday"),
        line(timestamp="2026-10-30T12:00:00"),
        line(usage={"output_tokens": -1}),
        line(usage={"input_tokens": 1.5}),
        line(usage={"cache_read_input_tokens": "7"}),
        line(usage={"cache_creation": 5}),
        line(isSidechain="true"),
        line(costUSD="1"),
        line()[:-9] + b"\n",
        b"\xef\xbb\xbf" + line(),
        line()[:-1] + line(),
    ],
)
def test_unreadable_lines_are_told(tmp_path: Path, bad: bytes) -> None:
    got = counted(tmp_path, line("other"), bad, line("another"))
    assert (got["totals"]["output_tokens"], got["unreadable"]) == (100, 1)


def test_a_tie_goes_to_the_line_with_a_speed_then_to_the_first_file(tmp_path: Path) -> None:
    files = {"b": line(), "c": line(**NEXT_DAY, usage={"speed": "standard"}), "a": line()}
    write(tmp_path, [(f"projects/p/{name}.jsonl", [data]) for name, data in files.items()])
    assert [row["session"] for row in count([tmp_path])["sessions"]] == ["c"]
    (tmp_path / "projects/p/c.jsonl").unlink()
    assert [row["session"] for row in count([tmp_path])["sessions"]] == ["a"]


def test_the_range_acts_after_deduplication(tmp_path: Path) -> None:
    got = counted(tmp_path, line(), line(**NEXT_DAY, **MORE), until="2026-10-30")
    assert (got["totals"]["output_tokens"], got["days"], got["sessions"], got["blocks"]) == (0, [], [], [])


@pytest.mark.parametrize(
    ("path", "project", "session"),
    [
        ("-p/s.jsonl", "-p", "s"),
        ("-p/s/subagents/agent-x.jsonl", "-p", "s"),
        ("-p/s/other.jsonl", "-p", "s"),
        ("-p/s/subagents/deep/agent-x.jsonl", "-p", "s"),
        ("s.jsonl", "unknown", "s"),
    ],
)
def test_place(path: str, project: str, session: str) -> None:
    assert place(Path(path)) == (project, session)


def test_one_folder_named_twice_counts_once(tmp_path: Path) -> None:
    counted(tmp_path, line(None))
    (tmp_path / "link").symlink_to(tmp_path)
    got = count([tmp_path, tmp_path / "link", tmp_path / "projects"])
    assert got["totals"]["output_tokens"] == 50


def test_block_boundaries(tmp_path: Path) -> None:
    times = ["10:20:00.000", "15:00:00.000", "15:00:00.001"]
    lines = [line(name, timestamp=f"2026-10-30T{name}Z") for name in times]
    now = 1_793_386_800.0  # 2026-10-30T19:00Z: within the second block, past the first
    got = counted(tmp_path, *lines, now=now)["blocks"]
    assert [(b["start"][11:16], b["active"], b["output_tokens"]) for b in got] == [
        ("10:00", False, 100),
        ("15:00", True, 50),
    ]


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("claude-sonnet-4-5", {"input_tokens": 200_001}, 0.6 + 6e-6),
        ("claude-sonnet-4-5", {"cache_creation": {"ephemeral_1h_input_tokens": 300_000}}, 1.2 + 1.2),
        ("claude-sonnet-4-6", {"input_tokens": 300_000}, 0.9),
        ("claude-opus-4-6", {"output_tokens": 1000, "speed": "fast"}, 0.15),
        ("claude-opus-4-8", {"output_tokens": 1000, "speed": "fast"}, 0.05),
        ("claude-sonnet-5", {"output_tokens": 1000, "speed": "fast"}, 0.01),
        ("glm-4.6", {"cache_creation_input_tokens": 1000}, 0.0),
        ("<synthetic>", {"output_tokens": 1000}, 0.0),
    ],
)
def test_cost(tmp_path: Path, model: str, usage: dict[str, Any], cost: float) -> None:
    nothing = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"), 0
    )
    got = counted(tmp_path, line(model=model, usage=nothing | usage))
    assert (got["totals"]["cost"], got["unknown_models"]) == (pytest.approx(cost), [])


def test_price_rows_are_complete() -> None:
    rows = json.loads(PRICES.read_bytes())["prices"]
    assert len({row["model"] for row in rows}) == len(rows)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert load_prices(PRICES) == {row["model"]: row for row in rows}


def test_random_trees_are_the_same_for_a_seed_and_hold_what_they_promise() -> None:
    for seed in range(20):
        files = list(tree(Random(seed)))
        assert files == list(tree(Random(seed)))
        assert len({path for path, _ in files}) == len(files)
        assert all(piece.endswith(b"\n") for _, lines in files for piece in lines[:-1])
