"""Cold read of a whole history of session logs, beside ccusage and plain loops."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from measure import HERE, PEERS, RXPIPE, Job, compare


def measure(history: Path, folder: Path, runs: int) -> None:
    """Compare `rxpipe run usage --once --json` with its peers."""
    environment = {"CLAUDE_CONFIG_DIR": str(history), "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    loops = [sys.executable, str(HERE / "plain_loops.py"), str(history)]
    jobs = {
        "rxpipe run usage --once --json": Job([*RXPIPE, "run", "usage", "--once", "--json"], environment),
        "loop over lines, orjson (parses, no counting)": Job([*loops, "orjson"]),
        "loop over lines, json (parses, no counting)": Job([*loops, "json"]),
        "block search and msgspec typed (parses only)": Job([*loops, "search"]),
    }
    ccusage = shutil.which(PEERS / "node_modules" / ".bin" / "ccusage") or shutil.which("ccusage")
    if ccusage is None:
        print(f"ccusage: neither in {PEERS.name} nor on the PATH, left out")
    else:
        for report in ("daily", "session"):
            jobs[f"ccusage {report} --json --offline"] = Job([ccusage, report, "--json", "--offline"], environment)
    compare("Cold read of the history", jobs, runs)
