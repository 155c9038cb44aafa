"""Streamz with its own sources of file names and of the lines of a file; it has nothing to recover from.

python streamz_tail.py LOGS PATTERN SINK STATE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from streamz import Stream


def main() -> None:
    """Follow every file that turns up."""
    logs, pattern, sink, _ = sys.argv[1:]
    out = Path(sink, "out.txt").open("a", encoding="utf-8")  # noqa: SIM115  # until the process ends
    followed = []

    def write(line: str) -> None:
        out.write(line if line.endswith("\n") else f"{line}\n")
        out.flush()

    def follow(name: str) -> None:
        lines = Stream.from_textfile(name, poll_interval=0.05)
        lines.sink(write)
        lines.start()
        followed.append(lines)

    names = Stream.filenames(f"{logs}/{pattern}", poll_interval=0.1)
    names.sink(follow)
    names.start()
    while True:
        time.sleep(1)  # the sources run on the event loop's thread


if __name__ == "__main__":
    main()
