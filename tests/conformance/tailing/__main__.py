"""The tailing suite against rxpipe and its peers: `python -m tests.conformance.tailing [--full] [--write] [NAME …]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.tailing.drive import Verdict, drive
from tests.conformance.tailing.scenarios import SCENARIOS, Scenario
from tests.conformance.tailing.table import PAGE, README, put, short, whole
from tests.conformance.tailing.tools import Rxpipe, Tool, peers


def main() -> None:
    """Run all scenarios with all tools, or those that are named, and print the table."""
    arguments = _parser().parse_args()
    unknown = [name for name in arguments.names if name not in {scenario.name for scenario in SCENARIOS}]
    if unknown:
        sys.exit(
            f"scenarios: must be of {', '.join(scenario.name for scenario in SCENARIOS)}; got {', '.join(unknown)}"
        )
    tools = _installed(arguments.tools)
    scenarios = [scenario for scenario in SCENARIOS if not arguments.names or scenario.name in arguments.names]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {
            (tool.name, scenario.name): pool.submit(_tried, tool, scenario, full=arguments.full)
            for scenario in scenarios
            for tool in tools
        }
        try:
            verdicts = {at: run.result() for at, run in runs.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # those under way end what they started
            raise
    versions = {tool.name: tool.version() or "" for tool in tools}
    if scenarios == SCENARIOS:
        print(whole(versions, verdicts, full=arguments.full))
        if arguments.write:
            put(PAGE, whole(versions, verdicts, full=arguments.full))
            put(README, short(versions, verdicts, full=arguments.full))
    failed = [at for at, verdict in verdicts.items() if at[0] == Rxpipe.name and not (verdict.skipped or verdict.holds)]
    sys.exit(f"rxpipe: {len(failed)} scenarios do not hold" if failed else 0)


def _installed(names: list[str] | None) -> list[Tool]:
    """The tools that are wanted and there; others are named."""
    tools: list[Tool] = []
    for tool in [Rxpipe(), *peers()]:
        if names and tool.name not in names:
            continue
        if tool.version() is None:
            print(f"{tool.name}: not installed, left out")
        else:
            tools.append(tool)
    return tools


def _tried(tool: Tool, scenario: Scenario, *, full: bool) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="rxpipe-conformance-") as folder:
        began = time.monotonic()
        verdict = drive(tool, scenario, Path(folder), full=full)
        took = time.monotonic() - began
    print(f"{scenario.group:2} {scenario.name:40} {tool.name:8} {took:6.1f} s  {str(verdict) or 'holds'}", flush=True)
    return verdict


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which scenarios; all by default")
    parser.add_argument("--tools", nargs="*", metavar="TOOL", help="which tools; all by default")
    parser.add_argument("--full", action="store_true", help="20,000 files, 5 GB, hundreds of kills")
    parser.add_argument("--jobs", type=int, default=2, help="how many to run at once")
    parser.add_argument("--write", action="store_true", help="write the tables into the README and docs/conformance.md")
    return parser


if __name__ == "__main__":
    main()
