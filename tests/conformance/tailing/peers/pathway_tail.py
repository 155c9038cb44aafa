"""Pathway with its own source of lines in streaming mode, and its persistence.

    python pathway_tail.py LOGS PATTERN SINK STATE

A line that it takes back is written with `-` before it, one that it adds with `+`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pathway as pw


def main() -> None:
    """Follow the lines of a folder."""
    logs, pattern, sink, state = sys.argv[1:]
    while not Path(logs).exists():
        time.sleep(0.1)  # it refuses a folder that is not there
    lines = pw.io.plaintext.read(
        logs, mode="streaming", object_pattern=pattern, autocommit_duration_ms=100, name="lines"
    )
    out = Path(sink, "out.txt").open("a", encoding="utf-8")  # noqa: SIM115  # until the process ends

    def on_change(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        out.write(("+" if is_addition else "-") + row["data"] + "\n")
        out.flush()

    pw.io.subscribe(lines, on_change)
    kept = pw.persistence.Config(pw.persistence.Backend.filesystem(state), snapshot_interval_ms=100)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=kept)


if __name__ == "__main__":
    main()
