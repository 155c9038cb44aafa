"""Sample sessions for the `usage` graph: a history of some days, then live activity."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

PROJECTS = ("/home/ada/engine", "/home/ada/notes", "/home/ada/weather-station")
MODELS = {
    "claude-opus-4-5-20251101": 5,
    "claude-sonnet-4-5-20250929": 4,
    "claude-opus-4-6": 2,
    "claude-haiku-4-5-20251001": 2,
}
DAYS = 6
DAY = 86_400.0
DELEGATED = 0.12  # share of answers after which another agent is asked
TORN = 0.08  # share of lines that arrive in two pieces


@dataclass
class Clock:
    """The time of the history, moved by hand."""

    seconds: float

    def __call__(self) -> float:
        """The time now."""
        return self.seconds


@dataclass
class Session:
    """One conversation and the file it is told in."""

    path: Path
    name: str
    cwd: str
    model: str
    side: bool
    context: int


def sessions(folder: Path, *, seed: int = 1, now: Callable[[], float] = time.time) -> Iterator[float]:
    """Write a history under `folder`/projects, then append a piece of live activity at each step.

    Yields the delay in seconds until the next step. The same seed and clock make the same bytes; a line is sometimes
    left half written until a later step.

    Args:
        folder: Folder to fill; a history left there by an earlier run with the same seed is written anew.
        seed: Seed of all chance.
        now: Clock the time stamps are taken from, in seconds since 1970.
    """
    rng = Random(seed)
    _history(rng, folder, now())
    yield 0.5
    live = [_talk(rng, _session(rng, folder, cwd), now) for cwd in PROJECTS]
    begun: set[Path] = set()
    while True:
        index = rng.choices(range(len(live)), (5, 3, 1))[0]
        piece = next(live[index], None)
        if piece is None:
            live[index] = _talk(rng, _session(rng, folder, PROJECTS[index]), now)
            continue
        path, data = piece
        _append(path, data, anew=path not in begun)
        begun.add(path)
        yield rng.uniform(0.3, 1.4)


def _history(rng: Random, folder: Path, end: float) -> None:
    for day in range(DAYS, 0, -1):
        for _ in range(rng.randint(3, 7)):
            clock = Clock(end - day * DAY + rng.uniform(0, 0.9 * DAY))
            session = _session(rng, folder, rng.choice(PROJECTS))
            pieces: dict[Path, list[bytes]] = {}
            for path, data in _talk(rng, session, clock):
                clock.seconds += rng.uniform(0.5, 25)
                if clock.seconds < end:
                    pieces.setdefault(path, []).append(data)
            for path, datas in pieces.items():
                _append(path, b"".join(datas), anew=True)


def _append(path: Path, data: bytes, *, anew: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb" if anew else "ab") as file:
        file.write(data)


def _session(rng: Random, folder: Path, cwd: str) -> Session:
    name, slug = _uuid(rng), "".join(c if c.isalnum() else "-" for c in cwd)
    model = rng.choices(list(MODELS), list(MODELS.values()))[0]
    path = folder / "projects" / slug / f"{name}.jsonl"
    return Session(path, name, cwd, model, side=False, context=rng.randint(9_000, 18_000))


def _agent(rng: Random, parent: Session) -> Session:
    path = parent.path.with_suffix("") / "subagents" / f"agent-{_hex(rng, 7)}.jsonl"
    return Session(path, parent.name, parent.cwd, "claude-haiku-4-5-20251001", side=True, context=4_000)


def _talk(rng: Random, session: Session, now: Callable[[], float]) -> Iterator[tuple[Path, bytes]]:
    """The pieces of one conversation: question, responses with tools, now and then a sub-agent."""
    for _ in range(rng.randint(2, 9) if not session.side else 1):
        yield from _torn(rng, session, _line(rng, session, now, type="user", message=_question(rng)))
        for _ in range(rng.randint(1, 5)):
            yield from _response(rng, session, now)
            result = [{"type": "tool_result", "tool_use_id": f"toolu_{_hex(rng, 12)}", "content": _words(rng, 400)}]
            message = {"role": "user", "content": result}
            yield from _torn(rng, session, _line(rng, session, now, type="user", message=message))
            if not session.side and rng.random() < DELEGATED:
                yield from _talk(rng, _agent(rng, session), now)


def _response(rng: Random, session: Session, now: Callable[[], float]) -> Iterator[tuple[Path, bytes]]:
    """One response, told on one line for each block of its content; its output is known with the last."""
    blocks, output, written = rng.randint(1, 4), rng.randint(60, 2400), rng.randint(200, 6000)
    usage: dict[str, Any] = {
        "input_tokens": rng.randint(2, 30),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": session.context,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }
    if session.model == "claude-opus-4-6":
        usage["speed"] = rng.choice(["standard", "fast"])
    session.context = min(session.context + written + output, 170_000)
    message: dict[str, Any] = {
        "model": session.model,
        "id": f"msg_01{_hex(rng, 20)}",
        "type": "message",
        "role": "assistant",
    }
    request = f"req_01{_hex(rng, 20)}"
    for index in range(blocks):
        known = output if index == blocks - 1 else rng.randint(1, 8)
        content = [{"type": "text", "text": _words(rng, 60)}]
        told = {**message, "content": content, "usage": {**usage, "output_tokens": known}}
        line = _line(rng, session, now, type="assistant", message=told, requestId=request)
        yield from _torn(rng, session, line)


def _torn(rng: Random, session: Session, line: bytes) -> Iterator[tuple[Path, bytes]]:
    if rng.random() < TORN:
        cut = rng.randrange(1, len(line))
        yield session.path, line[:cut]
        line = line[cut:]
    yield session.path, line


def _line(rng: Random, session: Session, now: Callable[[], float], **fields: object) -> bytes:
    moment = datetime.fromtimestamp(now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {
        "parentUuid": _uuid(rng),
        "isSidechain": session.side,
        "userType": "external",
        "cwd": session.cwd,
        "sessionId": session.name,
        "version": "2.1.200",
        "gitBranch": "main",
        **fields,
        "uuid": _uuid(rng),
        "timestamp": moment,
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _question(rng: Random) -> dict[str, Any]:
    return {"role": "user", "content": _words(rng, 20)}


def _words(rng: Random, most: int) -> str:
    words = ("read", "the", "sensor", "every", "second", "and", "keep", "a", "mean", "of", "its", "values")
    return " ".join(rng.choices(words, k=rng.randint(3, most)))


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _uuid(rng: Random) -> str:
    return "-".join(_hex(rng, digits) for digits in (8, 4, 4, 4, 12))
