"""Random trees of session logs, realistic down to what makes counting them hard.

`tree(random.Random(seed))` yields (path below the config folder, lines with their line ends). Written in any order of
files, and in pieces torn anywhere, they make the same history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

MODELS = {
    "claude-opus-4-5-20251101": 5,
    "claude-sonnet-4-5-20250929": 5,
    "claude-haiku-4-5-20251001": 3,
    "claude-opus-4-6": 3,
    "claude-opus-4-8": 1,
    "claude-sonnet-4-20250514": 1,
    "glm-4.6": 1,
    "acme-9b": 1,
}
START = datetime(2026, 3, 6, 18, tzinfo=UTC)  # a change to summer time falls into the days that follow
File = tuple[str, list[bytes]]


@dataclass
class Session:
    """One conversation: where it lies, what it says with each line, and the habits of the version that wrote it."""

    path: str
    name: str
    cwd: str
    side: bool
    version: str
    style: str
    costs: bool
    requests: bool
    lines: list[bytes] = field(default_factory=list)
    responses: list[list[dict[str, Any]]] = field(default_factory=list)


def tree(rng: Random, *, odd: bool = True, replays: bool = True, sessions: int = 6) -> Iterator[File]:
    """Files of one history.

    Args:
        rng: Where all chance comes from.
        odd: With lines that rxpipe counts and other counters drop.
        replays: With side-chain replays and progress lines, on which the reports of other counters disagree.
        sessions: Number of conversations, without sub-agents and copies.
    """
    clock = START
    all_sessions: list[Session] = []
    for _ in range(sessions):
        clock += timedelta(minutes=rng.choice([1, 40, 290, 299, 300, 301, 700]), milliseconds=rng.randrange(1000))
        cwd = rng.choice(["/home/u/alpha", "/home/u/beta.site", "/srv/Gamma Ray"])
        session = _session(rng, cwd, f"{slug(cwd)}/{{}}.jsonl")
        all_sessions.append(session)
        clock = _converse(rng, session, clock, rng.randint(2, 12), odd=odd)
        for _ in range(rng.choice([0, 0, 1, 2])):
            folder = f"{slug(cwd)}/{session.name}"
            place = rng.choice([f"{folder}/subagents/agent-{{}}.jsonl", f"{folder}/{{}}.jsonl"])
            agent = _session(rng, cwd, place, parent=session)
            all_sessions.append(agent)
            _converse(rng, agent, clock - timedelta(minutes=rng.randint(1, 30)), rng.randint(1, 5), odd=odd)
            if replays:
                _replay(rng, session, agent, odd=odd)
        if rng.random() < 0.4:
            known = [s for s in all_sessions if not s.side and (odd or s.requests)]
            all_sessions += [_resume(rng, rng.choice(known))] if known else []
    for session in all_sessions:
        _spoil(rng, session.lines)
        yield f"projects/{session.path}", session.lines
    decoy = dump(_assistant(rng, all_sessions[0], START, "msg_decoy", "req_decoy", "acme-9b"))
    yield f"projects/{slug('/home/u/alpha')}/sessions-index.json", [decoy + b"\n"]
    yield f"projects/{slug('/home/u/alpha')}/{all_sessions[0].name}.jsonl.bak", [decoy + b"\n"]


def write(folder: Path, files: Iterator[File] | list[File]) -> None:
    """Write a whole history at once."""
    for path, lines in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(lines))


def slug(cwd: str) -> str:
    """Folder name of a working directory."""
    return "".join(c if c.isalnum() else "-" for c in cwd)


def dump(record: object) -> bytes:
    """Compact JSON."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def _session(rng: Random, cwd: str, place: str, parent: Session | None = None) -> Session:
    name = str(_uuid(rng))
    return Session(
        path=place.format(name if parent is None else name[:8]),
        name=name if parent is None else parent.name,
        cwd=cwd,
        side=parent is not None,
        version=rng.choice(["1.0.24", "2.0.51", "2.1.200"]),
        style=rng.choice(["ms", "ms", "ms", "ms", "seconds", "offset", "mixed"]),
        costs=rng.random() < 0.15,
        requests=rng.random() < 0.85,
    )


def _converse(rng: Random, session: Session, clock: datetime, turns: int, *, odd: bool) -> datetime:
    if rng.random() < 0.3:
        _add(session, {"type": "summary", "summary": "Counting tokens", "leafUuid": _uuid(rng)})
    for _ in range(turns):
        clock += timedelta(milliseconds=rng.choice([900, 20_000, 600_000, 4_000_000]) + rng.randrange(1000))
        _add(session, _user(rng, session, clock))
        if rng.random() < 0.2:
            _add(session, _other(rng, session, clock))
        clock = _respond(rng, session, clock, odd=odd)
        if rng.random() < 0.08:
            _add(session, _failure(rng, session, clock))
    return clock


def _respond(rng: Random, session: Session, clock: datetime, *, odd: bool) -> datetime:
    """One response on one to four lines, its output growing."""
    identity = f"msg_{_hex(rng, 12)}" if rng.random() < 0.97 else None
    request = f"req_{_hex(rng, 12)}" if session.requests else None
    model = rng.choices(list(MODELS), list(MODELS.values()))[0] if rng.random() < 0.98 else None
    whole = _assistant(rng, session, clock, identity, request, model)
    count, final = rng.randint(1, 4) if identity and (request or odd) else 1, whole["message"]["usage"]["output_tokens"]
    versions = []
    for index in range(count):
        clock += timedelta(milliseconds=rng.randrange(50, 4000))
        record = json.loads(json.dumps(whole))
        usage = record["message"]["usage"]
        record["uuid"], record["timestamp"] = _uuid(rng), _stamp(rng, session.style, clock)
        record["message"]["content"] = [_block(rng, index)]
        if index < count - 1 and rng.random() < 0.8:
            usage["output_tokens"] = min(final, rng.randint(1, 8))
            if rng.random() < 0.7:
                usage.pop("iterations", None)
        versions.append(record)
        session.lines.append((_odd(rng, record) if odd and rng.random() < 0.12 else dump(record)) + b"\n")
        if rng.random() < 0.3:
            _add(session, _user(rng, session, clock))
    session.responses.append(versions)
    return clock


def _assistant(
    rng: Random, session: Session, clock: datetime, identity: str | None, request: str | None, model: str | None
) -> dict[str, Any]:
    message: dict[str, Any] = {"model": model, "id": identity, "type": "message", "role": "assistant", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": _usage(rng, model)}
    record = {
        **_envelope(rng, session, clock),
        "message": {k: v for k, v in message.items() if v is not None or k.startswith("stop")},
        "type": "assistant",
    }
    if request:
        record["requestId"] = request
    if session.costs:
        record["costUSD"] = round(rng.random() / 3, 6)
    return record


def _usage(rng: Random, model: str | None) -> dict[str, Any]:
    huge = 40 if rng.random() < 0.04 else 1
    usage: dict[str, Any] = {
        "input_tokens": rng.choice([1, 4, rng.randint(10, 9000)]) * huge,
        "cache_creation_input_tokens": rng.choice([0, rng.randint(1, 20_000)]) * huge,
        "cache_read_input_tokens": rng.choice([0, rng.randint(1000, 150_000)]) * min(huge, 3),
        "output_tokens": rng.randint(1, 3000),
    }
    if rng.random() < 0.1:
        del usage["cache_read_input_tokens"]
    if rng.random() < 0.8:
        hour = rng.choice([0, 0, usage["cache_creation_input_tokens"], usage["cache_creation_input_tokens"] // 3])
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage["cache_creation_input_tokens"] - hour,
            "ephemeral_1h_input_tokens": hour,
        }
    if rng.random() < 0.5:
        usage["service_tier"] = "standard"
    if rng.random() < 0.5:
        fast = model in {"claude-opus-4-6", "claude-opus-4-8", "acme-9b"} and rng.random() < 0.6
        usage["speed"] = "fast" if fast else "standard"
    if rng.random() < 0.1:
        share = {"input_tokens": 30, "output_tokens": rng.randint(1, 500)}
        advice = {
            "type": "advisor_message",
            "model": "claude-opus-4-5-20251101",
            "cache_read_input_tokens": 700,
            **share,
        }
        usage["iterations"] = [{"type": "message", **share}, *[advice] * rng.randint(0, 2)]
    return usage


def _envelope(rng: Random, session: Session, clock: datetime) -> dict[str, Any]:
    return {
        "parentUuid": None if rng.random() < 0.1 else _uuid(rng),
        "isSidechain": session.side,
        "userType": "external",
        "cwd": session.cwd,
        "sessionId": session.name,
        "version": session.version,
        "gitBranch": "main",
        "uuid": _uuid(rng),
        "timestamp": _stamp(rng, session.style, clock),
    }


def _user(rng: Random, session: Session, clock: datetime) -> dict[str, Any]:
    """A prompt or a tool result; what it quotes or reports of use must not count."""
    record = {**_envelope(rng, session, clock), "type": "user"}
    use = {"input_tokens": 7, "output_tokens": 7, "cache_read_input_tokens": 7}
    text = rng.choice(
        ["go on", "größer 🙂 \u2028", "x" * rng.randint(1, 3000), dump({"message": {"usage": use}}).decode()]
    )
    result = {"tool_use_id": f"toolu_{_hex(rng, 8)}", "type": "tool_result", "content": text}
    record["message"] = {"role": "user", "content": text if rng.random() < 0.4 else [result]}
    if rng.random() < 0.4:
        record["toolUseResult"] = rng.choice([{"stdout": text}, {"usage": use, "totalTokens": 21}, f"Error: {text}"])
    return record


def _other(rng: Random, session: Session, clock: datetime) -> dict[str, Any]:
    envelope = _envelope(rng, session, clock)
    use = {"input_tokens": 9, "output_tokens": 9}
    return rng.choice(
        [
            {**envelope, "type": "system", "content": "Conversation compacted", "level": "info"},
            {**envelope, "type": "progress", "data": {"type": "bash_progress", "output": "…", "elapsed": 3}},
            {**envelope, "type": "attachment", "attachment": {"type": "new_file", "usage": use}},
            {**envelope, "type": "user", "message": {"role": "user", "content": []}, "usage": use},
            {"type": "file-history-snapshot", "messageId": _uuid(rng), "snapshot": {"trackedFileBackups": {}}},
            {"type": "queue-operation", "operation": "enqueue", "timestamp": envelope["timestamp"], "content": "then"},
        ]
    )


def _failure(rng: Random, session: Session, clock: datetime) -> dict[str, Any]:
    """An error of the service, told as a response of no model."""
    reset = int((clock + timedelta(hours=2)).timestamp())
    texts = ["API Error: 529 overloaded_error", f"Claude AI usage limit reached|{reset}"]
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    message = {
        "id": _uuid(rng),
        "model": "<synthetic>",
        "role": "assistant",
        "type": "message",
        "usage": dict.fromkeys(names, 0 if rng.random() < 0.8 else 11),
        "content": [{"type": "text", "text": rng.choice(texts)}],
    }
    request = {"requestId": f"req_{_hex(rng, 12)}"} if session.requests else {}
    return {
        **_envelope(rng, session, clock),
        "type": "assistant",
        "message": message,
        "isApiErrorMessage": True,
        **request,
    }


def _block(rng: Random, index: int) -> dict[str, Any]:
    return rng.choice(
        [
            {"type": "thinking", "thinking": "so " * rng.randint(1, 60), "signature": "EqQB"},
            {"type": "text", "text": f'Part {index}: "usage":{{"input_tokens":3}} \\ \n'},
            {
                "type": "tool_use",
                "id": f"toolu_{_hex(rng, 8)}",
                "name": "Bash",
                "input": {"command": "ls", "usage": {}},
            },
        ]
    )


def _resume(rng: Random, session: Session) -> Session:
    """A conversation taken up again: a new file that begins with a copy of the old."""
    name = _uuid(rng)
    copy = Session(**{**vars(session), "name": name, "lines": [], "responses": []})
    copy.path = f"{slug(session.cwd)}/{name}.jsonl"
    for line in session.lines:
        told = line.replace(session.name.encode(), name.encode())
        copy.lines.append(told.replace(b',"speed":"standard"', b"") if rng.random() < 0.2 else told)
    copy.side = False
    _converse(rng, copy, START + timedelta(days=rng.randint(1, 4)), rng.randint(1, 4), odd=False)
    return copy


def _replay(rng: Random, session: Session, agent: Session, *, odd: bool) -> None:
    """The sub-agent repeats some of its parent's responses; the parent reports some of the sub-agent's."""
    for versions in rng.sample(session.responses, k=min(len(session.responses), rng.randint(0, 3))):
        record = json.loads(json.dumps(versions[-1]))
        record |= {"isSidechain": True, "requestId": f"req_{_hex(rng, 12)}", "uuid": _uuid(rng)}
        record["message"]["usage"]["cache_read_input_tokens"] = rng.randrange(200_000)
        if rng.random() < 0.5:
            record["timestamp"] = _stamp(rng, "ms", START + timedelta(days=1, minutes=rng.randrange(3000)))
        if "id" in record["message"]:
            agent.lines.append(dump(record) + b"\n")
    for versions in agent.responses:
        if rng.random() < 0.4 and (agent.requests or odd):
            last = versions[-1]
            if not odd:  # others ignore an advisor here
                last = json.loads(json.dumps(last))
                last["message"]["usage"].pop("iterations", None)
            inner = {k: last[k] for k in ("type", "timestamp", "requestId", "message", "costUSD") if k in last}
            data = {"type": "agent_progress", "agentId": _hex(rng, 7), "message": inner}
            progress = {"type": "progress", "sessionId": session.name, "timestamp": last["timestamp"], "data": data}
            if "id" in last["message"]:
                session.lines.append(dump(progress) + b"\n")


def _odd(rng: Random, record: dict[str, Any]) -> bytes:
    """A line that rxpipe counts though other counters drop it."""
    record = json.loads(json.dumps(record))
    message, usage = record["message"], record["message"]["usage"]
    kind = rng.randrange(9)
    if kind == 0:
        return json.dumps(record).encode()
    if kind == 1:
        moment = datetime.fromisoformat(record["timestamp"])
        record["timestamp"] = moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    elif kind == 2:
        message["content"] = [{"type": "tool_use", "id": "t", "name": "X", "input": {"id": None, "model": None}}]
    elif kind == 3:
        usage["cache_read_input_tokens"] = None
    elif kind == 4:
        del usage["input_tokens"]
    elif kind == 5:
        usage["speed"] = usage.get("speed")
    elif kind == 6:
        message["id"] = ""
    elif kind == 7:
        record["version"], record["gitBranch"] = "dev", None
    else:
        return dump(record).replace(b'"gitBranch":"main"', b'"gitBranch":"m\xff\xfe"')
    return dump(record)


def _spoil(rng: Random, lines: list[bytes]) -> None:
    """Lines that no counter can read, other line ends, and a last line without its end."""
    for _ in range(rng.choice([0, 0, 1, 3])):
        victim = rng.choice([line for line in lines if line.strip()])
        bad = rng.choice(
            [
                b"\n",
                b"  \r\n",
                b"\0\0\0\0\n",
                b'{"truncated": \n',
                victim[: rng.randrange(1, len(victim))].rstrip() + b"\n",
                victim.rstrip() + victim,
                victim.replace(b'"timestamp"', b'"when"'),
                victim.replace(b'"output_tokens":', b'"output_tokens":-'),
                victim.replace(b'"output_tokens":', b'"output_tokens":"many","was":'),
            ]
        )
        lines.insert(rng.randint(0, len(lines)), bad)
    if rng.random() < 0.15:
        lines[:] = [line.rstrip(b"\r\n") + b"\r\n" for line in lines]
    if rng.random() < 0.15:
        lines[-1] = lines[-1].rstrip(b"\r\n")
    elif rng.random() < 0.15:
        lines.append(lines[-1][: len(lines[-1]) // 2])


def _add(session: Session, record: dict[str, Any]) -> None:
    session.lines.append(dump(record) + b"\n")


def _stamp(rng: Random, style: str, clock: datetime) -> str:
    if style == "mixed":
        style = rng.choice(["ms", "seconds", "offset"])
    if style == "offset":
        zone = timezone(timedelta(minutes=rng.choice([330, 60, -480])))
        return clock.astimezone(zone).isoformat(timespec="milliseconds")
    return clock.isoformat(timespec="seconds" if style == "seconds" else "milliseconds").replace("+00:00", "Z")


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _uuid(rng: Random) -> str:
    return "-".join(_hex(rng, digits) for digits in (8, 4, 4, 4, 12))
