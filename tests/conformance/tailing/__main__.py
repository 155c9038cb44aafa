"""The tailing suite against rxpipe and its peers: `python -m tests.conformance.tailing [--full] [--tools …] [NAME …]`."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.tailing.drive import Verdict, drive
from tests.conformance.tailing.scenarios import SCENARIOS, Scenario
from tests.conformance.tailing.tools import Rxpipe, Tool, peers


def main() -> None:
    """Run all scenarios with all tools, or those that are named."""
    arguments = _parser().parse_args()
    tools: list[Tool] = []
    for tool in [Rxpipe(), *peers()]:
        if arguments.tools and tool.name not in arguments.tools:
            continue
        if tool.version() is None:
            print(f"{tool.name}: not installed, left out")
        else:
            tools.append(tool)
    scenarios = [scenario for scenario in SCENARIOS if not arguments.names or scenario.name in arguments.names]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {
            (tool.name, scenario.name): pool.submit(_tried, tool, scenario, arguments.full)
            for scenario in scenarios
            for tool in tools
        }
        verdicts = {at: run.result() for at, run in runs.items()}
    failed = [at for at, verdict in verdicts.items() if at[0] == "rxpipe" and not verdict.holds]
    sys.exit(f"rxpipe: {len(failed)} scenarios do not hold" if failed else 0)


def _tried(tool: Tool, scenario: Scenario, full: bool) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="rxpipe-conformance-") as folder:
        began = time.monotonic()
        verdict = drive(tool, scenario, Path(folder), full=full)
        shown = str(verdict) or "holds"
        print(f"{tool.name:9} {scenario.group:2} {scenario.name:40} {time.monotonic() - began:6.1f} s  {shown}", flush=True)
    return verdict


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which scenarios; all by default")
    parser.add_argument("--tools", nargs="*", metavar="TOOL", help="which tools; all by default")
    parser.add_argument("--full", action="store_true", help="20,000 files, 5 GB, hundreds of kills")
    parser.add_argument("--jobs", type=int, default=2, help="how many to run at once")
    return parser


if __name__ == "__main__":
    main()
