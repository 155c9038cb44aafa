"""`python -m rxpipe.testing.service`: the service as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from rxpipe.testing.service.behaviour import Behaviour
from rxpipe.testing.service.server import Server, desk_on_loop


async def serve(behaviour: Behaviour, port: int, journal: Path | None) -> None:
    """Serve until the process is asked to end; the first line printed is the address."""
    server = Server(desk_on_loop(behaviour, journal))
    found = await server.start(port)
    sys.stdout.write(f"http://127.0.0.1:{found}/v1\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await server.close()


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser("python -m rxpipe.testing.service", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0: the system chooses")
    parser.add_argument("--journal", type=Path, help="a file in which to note what was asked; what is there counts")
    parser.add_argument(
        "--behaviour", default="{}", metavar="JSON", help='as \'{"latency": "50ms", "statuses": {"500": 0.05}}\''
    )
    given = parser.parse_args()
    behaviour = msgspec.json.decode(given.behaviour, type=Behaviour, strict=False)
    asyncio.run(serve(behaviour, given.port, given.journal))


if __name__ == "__main__":
    main()
