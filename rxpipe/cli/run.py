"""`rxpipe run`: run a graph until it ends, is interrupted, or its time is up."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan
    from rxpipe.runtime.asyncrun import AsyncRun
    from rxpipe.runtime.sample import SampleData
    from rxpipe.runtime.settings import Settings

SAMPLE_SECONDS = 30.0
"""How long sample data plays unless told otherwise."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run", help="run a graph", description="Run a graph, given by file or by the name of a shipped one."
    )
    parser.add_argument("graph", help="a YAML file, or the name of a shipped graph")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the graph")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the tasks that would be done, with time and cost; call nothing"
    )
    parser.add_argument("--once", action="store_true", help="process what is there, print the final tables, end")
    parser.add_argument("--json", action="store_true", help="print the final tables as one JSON object")
    parser.add_argument(
        "--for", dest="duration", type=_duration, metavar="DURATION", help="drain and end after this time, as 30s"
    )
    parser.add_argument("--sample", action="store_true", help="run on generated data that keeps growing, for 30 s")
    parser.add_argument(
        "--state", metavar="FILE", help="where to keep offsets and states (default: the user's state directory)"
    )
    parser.add_argument(
        "--reset",
        action="append",
        default=[],
        metavar="STREAM",
        help="where the graph has changed: let what is changed in this stream start afresh",
    )
    parser.add_argument(
        "--redo",
        choices=["changed", "failed", "all"],
        help="do tasks again that are over: those done by a graph that has changed since, those that failed, or all",
    )
    parser.add_argument(
        "--from-savepoint", metavar="FILE", help="go back to a savepoint first, and sinks that can with it"
    )
    parser.add_argument(
        "--progress-file", metavar="FILE", help="keep a JSON object in this file that tells how far the tasks are"
    )
    parser.add_argument("--metrics", metavar="[HOST]:PORT", help="expose Prometheus metrics")
    parser.add_argument("--log-format", choices=["text", "json"], help="form of the log on standard error")
    parser.add_argument(
        "--log-level", choices=["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"], help="least level of the log"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    import asyncio

    from rxpipe.language.config import load
    from rxpipe.language.lints import UNLOADED, lint
    from rxpipe.language.values import read_sets
    from rxpipe.log import logger
    from rxpipe.runtime.logs import configure
    from rxpipe.runtime.memory import tune
    from rxpipe.runtime.settings import load_settings

    configure(args.log_level or "INFO", args.log_format or "text")
    graph = load(args.graph, sets=args.set)
    values = read_sets(graph, args.set)
    given = {"state": args.state, "metrics": args.metrics, "log_format": args.log_format, "log_level": args.log_level}
    plan = graph.plan(**values)
    settings = load_settings(plan.settings, given)
    configure(settings.log_level, settings.log_format)
    for warned in lint(plan):
        if warned.lint != UNLOADED:  # told when it was not loaded
            logger.warning("{}", warned.logged)
    with _sample(args, plan, values) as sample:
        if sample is not None:
            plan = graph.plan(**sample.values(values))
        tune()
        if args.dry_run:
            return _dry_run(args, plan)
        return asyncio.run(_run(args, plan, settings, sample))


def _dry_run(args: argparse.Namespace, plan: Plan) -> int:
    import asyncio

    from rxpipe.tasks.dryrun import dry_run

    found = asyncio.run(dry_run(plan, redo=args.redo))
    if args.json:
        import msgspec

        print(msgspec.json.encode(found).decode())
    else:
        from rxpipe.cli._dryrun import told

        print(told(found))
    return 0


def _duration(text: str) -> float:
    from rxpipe.parameters.units import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sample(
    args: argparse.Namespace, plan: Plan, values: dict[str, Any]
) -> contextlib.AbstractContextManager[SampleData | None]:
    """Sample data where it is asked for, or where there is nothing else to see."""
    graph = plan.graph
    if not args.sample:
        if graph.sample is None or args.once or graph.sample.sets in values:
            return contextlib.nullcontext()
        places = plan.values.get(graph.sample.sets)
        wanted = [Path(str(place)).expanduser() for place in places] if isinstance(places, list) else []
        if any(next(place.rglob(graph.sample.files), None) is not None for place in wanted if place.is_dir()):
            return contextlib.nullcontext()
        listed = ", ".join(str(place) for place in wanted)
        print(f"nothing to read in {listed}: running on generated sample data, as --sample does", file=sys.stderr)
    from rxpipe.runtime.sample import SampleData

    return SampleData(graph)


async def _run(args: argparse.Namespace, plan: Plan, settings: Settings, sample: SampleData | None) -> int:
    import asyncio

    from rxpipe.cli._interrupts import Interrupts
    from rxpipe.runtime.asyncrun import AsyncRun
    from rxpipe.runtime.logs import configure
    from rxpipe.runtime.output import Output

    output = Output.detect(json=args.json, once=args.once)
    output.sample = sample is not None
    if args.progress_file is not None:
        output.progress_file = _progress_file(plan, args.progress_file)
    if output.interactive:
        configure(settings.log_level, settings.log_format, output.log_stream)
    duration = args.duration
    if sample is not None and duration is None and not args.once:
        duration = SAMPLE_SECONDS
    run = AsyncRun(
        plan,
        state=False if sample is not None else state_path(plan, settings, once=args.once) or False,
        once=args.once,
        output=output,
        duration=duration,
        settings=settings,
        redo=args.redo,
        reset=args.reset,
        from_savepoint=args.from_savepoint,
    )
    interrupted = Interrupts(run, output)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(run)
        interrupted.install(asyncio.get_running_loop())
        if sample is not None and not args.once:
            sample.play()
        stack.callback(interrupted.close)
        await _ended(run, settings, duration)
    return interrupted.exit_code or delivered(run)


def _progress_file(plan: Plan, path: str) -> Path:
    from rxpipe.errors import RxpipeError

    steps = (step.operator for stream in plan.streams.values() for step in stream.steps)
    if not any(operator is not None and operator.name == "to_progress" for operator in steps):
        msg = "--progress-file: the graph must have a step 'to_progress', which writes it; got none"
        raise RxpipeError(msg)
    return Path(path).expanduser()


async def _ended(run: AsyncRun, settings: Settings, duration: float | None) -> None:
    """Wait for the end of the run; one whose time is up has as long to drain as one that is interrupted."""
    import asyncio

    from rxpipe.parameters.units import seconds
    from rxpipe.runtime.asyncrun import not_drained

    if duration is None:
        await run.wait()
        return
    try:
        await asyncio.wait_for(run.wait(), duration + seconds(settings.drain_timeout))
    except TimeoutError:
        not_drained(settings.drain_timeout)
        run.stop()


def delivered(run: AsyncRun) -> int:
    """The exit code of a run that has ended by itself."""
    from rxpipe.cli import UNDELIVERED
    from rxpipe.errors import escaped

    degraded = run.status().degraded
    if degraded is None:
        return 0
    print(escaped(f"rxpipe: the run ended while not all was as it should be: {degraded}"), file=sys.stderr)
    return UNDELIVERED


def state_path(plan: Plan, settings: Settings, *, once: bool) -> Path | None:
    """Where a run keeps its state: where it was told to, else in the user's state directory.

    A single pass (`once`) over a graph that only shows something needs no state, and keeps none unless told where.
    """
    from rxpipe.runtime.statepath import default_path

    if settings.state is not None:
        return Path(settings.state).expanduser()
    if once and not plan.lasting:
        return None
    return default_path(plan)
