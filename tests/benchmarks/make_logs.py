"""Write a large history of sessions, with the sizes of a published real one.

python tests/benchmarks/make_logs.py DIR --size 1GB --files 3200 --seed 1
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

# Shares of files and their sizes in bytes; the published real history had 1.24 GiB in 3,142 files.
SIZES = ((0.0, 2e3), (0.5, 105e3), (0.9, 654e3), (0.99, 5.4e6), (0.999, 15e6), (1.0, 87e6))
UNITS = {"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "claude-opus-4-6")
END = datetime(2026, 11, 1, tzinfo=UTC)
ENVELOPE = (
    '{"parentUuid":"%s","isSidechain":%s,"userType":"external","cwd":"/home/u/p%d","sessionId":"%s",'
    '"version":"2.1.200","gitBranch":"main",'
)
ASSISTANT = (
    '"message":{"model":"%s","id":"msg_%s","type":"message","role":"assistant","content":[{"type":"text","text":"%s"}],'
    '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":%d,"cache_creation_input_tokens":%d,'
    '"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":0},'
    '"output_tokens":%d,"service_tier":"standard"}},"requestId":"req_%s","type":"assistant","uuid":"%s","timestamp":"%s"}\n'
)
USER = (
    '"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_%s","type":"tool_result","content":"%s"}]},'
    '"uuid":"%s","timestamp":"%s","toolUseResult":{"stdout":"%s"}}\n'
)


def write(folder: Path, size: float, files: int, seed: int) -> list[int]:
    """Write the history and return the sizes of its files."""
    rng = Random(seed)
    filler = _filler(rng, 4_000_000)
    wanted = [_quantile((i + 0.5) / files) for i in range(files)]
    scale = size / sum(wanted)
    rng.shuffle(wanted)
    parent, written = "", []
    for index, share in enumerate(wanted):
        project = int(rng.paretovariate(0.8)) % 40
        if index % 3 == 0 or not parent:
            name = _uuid(rng)
            parent = f"-home-u-p{project}/{name}"
            path, side = folder / "projects" / f"{parent}.jsonl", False
        else:
            path, side = folder / "projects" / parent / "subagents" / f"agent-{_hex(rng, 7)}.jsonl", True
        path.parent.mkdir(parents=True, exist_ok=True)
        data = _conversation(rng, filler, int(share * scale), project, parent.rpartition("/")[2], side=side)
        path.write_bytes(data)
        written.append(len(data))
    return sorted(written)


def _conversation(rng: Random, filler: str, size: int, project: int, session: str, *, side: bool) -> bytes:
    clock = END - timedelta(days=rng.uniform(0, 90))
    model, context = rng.choice(MODELS), rng.randint(8_000, 20_000)
    parts: list[str] = []
    length = 0
    while length < size or not parts:
        result = min(int(rng.lognormvariate(7.9, 1.6)), 3_000_000, max(size - length, 200))
        cut = rng.randrange(len(filler) - result)
        text = filler[cut : cut + result].rstrip("\\")
        clock += timedelta(seconds=rng.uniform(1, 60))
        envelope = ENVELOPE % (_uuid(rng), "true" if side else "false", project, session)
        turn = [envelope + USER % (_hex(rng, 16), _whole(text), _uuid(rng), _stamp(clock), _whole(text[:200]))]
        message, request, blocks = _hex(rng, 20), _hex(rng, 20), rng.randint(1, 4)
        use = (rng.randint(1, 40), new := rng.randint(100, 6000), context, new)
        context = min(context + new, 180_000)
        for block in range(blocks):
            clock += timedelta(seconds=rng.uniform(0.1, 4))
            output = rng.randint(40, 2500) if block == blocks - 1 else rng.randint(1, 8)
            cut = rng.randrange(1000)
            said = _whole(filler[cut : cut + rng.randint(40, 900)])
            fields = (model, message, said, *use, output, request, _uuid(rng), _stamp(clock))
            turn.append(envelope + ASSISTANT % fields)
        parts += turn
        length += sum(map(len, turn))
    return "".join(parts).encode()


def _filler(rng: Random, length: int) -> str:
    """Text as it stands inside a JSON string, with what a careless search for use would stumble over."""
    words = [f"{rng.getrandbits(rng.randint(8, 48)):x}" for _ in range(2000)]
    words += ["def", "return", "self", "import", "\\n    ", "\\n", "\\n", '\\"', "\\\\", "{", "}"] * 60
    words += ['\\"usage\\":{\\"input_tokens\\":12,\\"output_tokens\\":3}'] * 3
    parts: list[str] = []
    while length > 0:
        parts.append(" ".join(rng.choices(words, k=5000)))
        length -= len(parts[-1])
    return " ".join(parts)


def _whole(text: str) -> str:
    """The text without a cut escape at its ends."""
    return text.partition(" ")[2].rpartition(" ")[0]


def _quantile(share: float) -> float:
    for (low, small), (high, large) in pairwise(SIZES):
        if share <= high:
            return math.exp(math.log(small) + (share - low) / (high - low) * math.log(large / small))
    return SIZES[-1][1]


def _stamp(clock: datetime) -> str:
    return clock.strftime("%Y-%m-%dT%H:%M:%S.") + f"{clock.microsecond // 1000:03}Z"


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _uuid(rng: Random) -> str:
    text = _hex(rng, 32)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def bytes_of(text: str) -> float:
    """A size as people write it."""
    found = re.fullmatch(r"([\d.]+) ?([KMG]?I?B?)", text.upper())
    if not found or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"size must be like 1GB or 300MB; got {text!r}")
    return float(found[1]) * UNITS[found[2]]


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--size", type=bytes_of, default=1e9)
    parser.add_argument("--files", type=int, default=3200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sizes = write(arguments.folder, arguments.size, arguments.files, arguments.seed)
    marks = {mark: sizes[min(int(len(sizes) * mark / 100), len(sizes) - 1)] for mark in (50, 90, 99, 100)}
    told = ", ".join(f"p{mark} {size / 1e3:,.0f} KB" for mark, size in marks.items())
    sys.stdout.write(f"{len(sizes)} files, {sum(sizes) / 1e6:,.0f} MB: {told}\n")


if __name__ == "__main__":
    main()
