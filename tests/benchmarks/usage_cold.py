"""Cold read of a whole history of session logs, beside ccusage and plain loops."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from measure import HERE, RXPIPE, compare


def measure(history: Path, folder: Path, runs: int) -> None:
    """Compare `rxpipe run usage --once --json` with its peers."""
    environment = {"CLAUDE_CONFIG_DIR": str(history), "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    loops = [sys.executable, str(HERE / "plain_loops.py"), str(history)]
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "rxpipe run usage --once --json": ([*RXPIPE, "run", "usage", "--once", "--json"], environment),
        "loop over lines, orjson (parses, no counting)": ([*loops, "orjson"], {}),
        "loop over lines, json (parses, no counting)": ([*loops, "json"], {}),
        "block search and msgspec typed (parses only)": ([*loops, "search"], {}),
    }
    ccusage = shutil.which("ccusage")
    if ccusage is None:
        print("ccusage: not on the PATH, left out (npm install --global ccusage)")
    else:
        commands["ccusage daily --json --offline"] = ([ccusage, "daily", "--json", "--offline"], environment)
        commands["ccusage session --json --offline"] = ([ccusage, "session", "--json", "--offline"], environment)
    compare("Cold read of the history", commands, runs)
