"""Append lines to a file at a rate, one write each, with the time at which they are written.

Usage: `latency_writer.py FILE LINES RATE`.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Write; what is late because the machine was busy is written at once, so that the rate is held."""
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    lines, rate = int(sys.argv[2]), float(sys.argv[3])
    start = time.monotonic()
    for number in range(lines):
        wait = start + number / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)  # the pace of the writer
        os.write(file, b'{"written":%d,"message":"request served for user with cached prompt"}\n' % time.monotonic_ns())


if __name__ == "__main__":
    main()
