"""Make a file of service events: JSON lines of about 275 bytes; the same seed makes the same bytes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

SERVICES = ("api", "auth", "billing", "gateway", "search", "worker")
LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "WARNING", "ERROR")
MODELS = ("haiku", "opus", "sonnet", "small")
WORDS = ("request", "served", "for", "user", "with", "cached", "prompt", "after", "retry", "of", "upstream", "call")
VARIED = 20_000
"""How many different lines there are before they repeat with new times."""


def line(rng: Random, number: int) -> bytes:
    """One event."""
    event = {
        "ts": 1_790_000_000.0 + number / 1000,
        "service": rng.choice(SERVICES),
        "level": rng.choice(LEVELS),
        "model": rng.choice(MODELS),
        "user": f"user-{rng.randrange(5000):05d}",
        "latency": round(rng.expovariate(1 / 120), 3),
        "tokens_in": rng.randrange(20, 9000),
        "tokens_out": rng.randrange(1, 2500),
        "http": {"method": "POST", "status": rng.choice((200, 200, 200, 429, 500)), "path": "/v1/messages"},
        "message": " ".join(rng.choices(WORDS, k=6)),
    }
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def make(path: Path, size: int, seed: int = 1) -> None:
    """Write events until the file has `size` bytes or a little more."""
    rng = Random(seed)
    lines = [line(rng, number) for number in range(VARIED)]
    rests = [made[made.index(b",") + 1 :] for made in lines]
    written, number = 0, 0
    with path.open("wb") as file:
        while written < size:
            block = b"".join(
                b'{"ts":%.3f,' % (1_790_000_000.0 + (number + at) / 1000) + rest for at, rest in enumerate(rests)
            )
            number += len(rests)
            written += file.write(block)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    make(arguments.path, arguments.size, arguments.seed)
