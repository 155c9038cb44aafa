"""Writes numbered JSON lines to several files in torn pieces, until told to stop; prints nothing.

    python writer.py FOLDER SEED LINES PAUSE

Of a hundred lines ten are written a second time, to any of the files, and one is no JSON. It pauses so many seconds
after each 20 lines. The file `FOLDER/stop` ends it early. What was written is what stands in the files when it has
ended.
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
    folder, seed, lines, pause = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    rng = random.Random(seed)  # reproducible, not secret
    files = [os.open(folder / f"{number}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY) for number in range(FILES)]
    pending = [b""] * FILES
    for number in range(lines):
        if number % 20 == 0:
            if (folder / "stop").exists():
                break
            time.sleep(pause)  # the pace of the writer, not a wait for something
        made = line(number, rng)
        for text in [made] * (2 if rng.random() < 0.1 else 1) + [b"{torn\n"] * (rng.random() < 0.01):
            chosen = rng.randrange(FILES)
            data = pending[chosen] + text
            cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)  # three in ten are torn
            os.write(files[chosen], data[:cut])
            pending[chosen] = data[cut:]
    for descriptor, rest in zip(files, pending, strict=True):
        os.write(descriptor, rest)
        os.close(descriptor)


def line(number: int, rng: random.Random) -> bytes:
    """A record: its number, that of its pair, a group, a time about its number in hundredths of a second."""
    time_of = round(number / 100 + rng.random() * 2, 3)
    text = "x" * rng.randrange(60)
    return b'{"id":%d,"pair":%d,"group":"g%d","n":%d,"ts":%a,"text":"%s"}\n' % (
        number,
        number // 2,
        number % 7,
        number % 100,
        time_of,
        text.encode(),
    )


if __name__ == "__main__":
    main()
