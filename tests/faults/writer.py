"""Writes numbered JSON lines to several files in torn pieces, until told to stop; prints nothing.

    python writer.py FOLDER SEED LINES

The file `FOLDER/stop` ends it early. What was written is what stands in the files when it has ended.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

FILES = 3


def main() -> None:
    """Write until all lines are written or the stop file is there."""
    folder, seed, lines = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)  # reproducible, not secret
    files = [os.open(folder / f"{number}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY) for number in range(FILES)]
    pending = [b""] * FILES
    for number in range(lines):
        if number % 50 == 0:
            if (folder / "stop").exists():
                break
            time.sleep(0.002)  # the pace of the writer, not a wait for something
        chosen = rng.randrange(FILES)
        line = b'{"id":%d,"group":"g%d","n":%d,"text":"%s"}\n' % (
            number,
            number % 7,
            number % 100,
            b"x" * rng.randrange(60),
        )
        data = pending[chosen] + line
        cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)  # three in ten are torn
        os.write(files[chosen], data[:cut])
        pending[chosen] = data[cut:]
    for descriptor, rest in zip(files, pending, strict=True):
        os.write(descriptor, rest)
        os.close(descriptor)


if __name__ == "__main__":
    main()
