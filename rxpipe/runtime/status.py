"""What a run says of itself: `RunStatus`, computed from the meters when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from rxpipe.elements import ErrorRecord, as_dict
from rxpipe.errors import counted
from rxpipe.language.hidden import masked
from rxpipe.runtime.checkpoint import PAUSES
from rxpipe.runtime.meter import Meter, blame

if TYPE_CHECKING:
    from collections.abc import Callable

    from rxpipe.language.plan import PlannedStream
    from rxpipe.runtime.engine import Engine
    from rxpipe.runtime.stage import StepContext

LONG_CHECKPOINT = 10.0
"""Seconds after which a checkpoint that waits makes the run degraded."""

RATE_SPAN = 0.5
"""Seconds that a rate is taken over at least; shorter spans give noise. Until they have passed there is none."""


class StepStatus(msgspec.Struct, frozen=True):
    """One step. `share` is its part of the time that all steps used; `gauges` holds figures such as `queue_depth`."""

    name: str
    records_in: int
    records_out: int
    bytes_in: int
    bytes_out: int
    blocks: int
    mean_batch: float
    largest_batch: int
    errors: int
    seconds: float
    share: float
    gauges: dict[str, float]


class StreamStatus(msgspec.Struct, frozen=True):
    """One stream: the records that its busiest step handled, in all and per second; how far behind its sources are."""

    records: int
    records_per_second: float
    lag_bytes: float
    lag_seconds: float
    errors: int


class Backlog(msgspec.Struct, frozen=True):
    """Data that was there before the run began to read: bytes known and read, and when it will be read.

    There is neither speed nor end (0 and None) until half a second has shown what they are.
    """

    read_bytes: float
    known_bytes: float
    bytes_per_second: float
    eta_seconds: float | None


class RunStatus(msgspec.Struct, frozen=True):
    """A run at one moment. Times are in seconds since the epoch.

    Attributes:
        state: new, running, paused, draining, done, failed or stopped.
        last_update: When anything last left a step; None before that.
        records: Records of those streams that begin with a source.
        errors: Records, lines and files that could not be handled.
        degraded: Why the run is not in full health, or None: a checkpoint that failed or waits long, a sink
            that cannot write. Of a run that has ended, why it was not then, or that something was not delivered.
        last_errors: The last error records, up to 100.
        files: For each file read: its offset, size and lag in bytes.
        details: What steps tell of themselves, such as how a folder is watched.
        checkpoints: How many were taken.
        checkpoint_seconds: How long the last one took, from the moment it was due until it was committed.
        checkpoint_pause: For how long the last one held the sources.
        checkpoint_pauses: How many held them at most so many seconds, and longer than the figure before.
        checkpoint_paused: For how long all of them held the sources.
        checkpoint_interval: Seconds between the last two.
        checkpoint_rows: How many state rows the last one wrote.
        checkpoint_bytes: How many bytes those had.
        checkpoint_time: When the last one was taken.
        state_bytes: The size of the state file.
    """

    graph: str
    state: str
    started: float
    now: float
    last_update: float | None
    records: int
    errors: int
    in_flight: int
    degraded: str | None
    streams: dict[str, StreamStatus]
    steps: list[StepStatus]
    backlog: Backlog | None
    files: dict[str, Any] = msgspec.field(default_factory=dict)
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    last_errors: list[ErrorRecord] = msgspec.field(default_factory=list)
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    checkpoint_pause: float = 0.0
    checkpoint_pauses: dict[str, int] = msgspec.field(default_factory=dict)
    checkpoint_paused: float = 0.0
    checkpoint_interval: float = 0.0
    checkpoint_rows: int = 0
    checkpoint_bytes: int = 0
    checkpoint_time: float | None = None
    state_bytes: int = 0

    @property
    def rated(self) -> bool:
        """Whether rates are told: there are none of a run that has just begun, and none of one that is over."""
        return self.state not in ("new", "done", "failed", "stopped") and self.now - self.started >= RATE_SPAN

    def as_dict(self) -> dict[str, Any]:
        """The status as plain data."""
        made = msgspec.structs.asdict(self)
        made["streams"] = {name: msgspec.structs.asdict(stream) for name, stream in self.streams.items()}
        made["steps"] = [msgspec.structs.asdict(step) for step in self.steps]
        made["backlog"] = None if self.backlog is None else msgspec.structs.asdict(self.backlog)
        made["last_errors"] = [as_dict(error) for error in self.last_errors]
        return made

    def __repr__(self) -> str:
        counts = f"{counted(self.records, 'record')}, {counted(self.errors, 'error')}"
        return f"<RunStatus of {self.graph!r}: {self.state}, {counts}>"

    def __str__(self) -> str:
        """A line for the run and one for each stream."""
        lines = [
            f"{self.graph}: {self.state}, {counted(self.errors, 'error')}"
            + (f"; {self.degraded}" if self.degraded else "")
        ]
        width = max(map(len, self.streams), default=0)
        for name, stream in self.streams.items():
            line = f"  {name:{width}}  {stream.records:>12,} records"
            line += f"  {stream.records_per_second:>10,.0f}/s" if self.rated else ""
            line += f"  {stream.lag_bytes:,.0f} bytes behind" if stream.lag_bytes else ""
            lines.append(line + (f"  {counted(stream.errors, 'error')}" if stream.errors else ""))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from rxpipe.views.notebook import status_html  # only notebooks call this

        return status_html(self)


LEAST_BACKLOG = 256 * 1024
"""Unread bytes below which there is no backlog to speak of: one block of a reader."""


class _Rate:
    """A rate over the last seconds, whoever asks however often."""

    __slots__ = ("_count", "_rate", "_time")

    def __init__(self, now: float) -> None:
        self._time = now
        self._count = 0.0
        self._rate = 0.0

    def at(self, count: float, now: float) -> float:
        elapsed = now - self._time
        if elapsed >= RATE_SPAN:
            self._rate = max(0.0, count - self._count) / elapsed
            self._time, self._count = now, count
        return self._rate


class Monitor:
    """Makes the status of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started = engine.clock()
        self._at_end: str | None = None
        self._rates: dict[str, _Rate] = {}
        self._read_rate = _Rate(self._started)

    def _rate(self, name: str, count: float, now: float) -> float:
        rate = self._rates.get(name)
        if rate is None:
            rate = self._rates[name] = _Rate(self._started)
        return rate.at(count, now)

    def status(self, *, whole: bool = True) -> RunStatus:
        """The run as it is now.

        Args:
            whole: Ask the steps for their figures and details, too; a screen that is drawn often does without.
        """
        engine = self._engine
        now = engine.clock()
        steps = self._steps() if whole else []
        streams = {name: self._stream(name, now) for name in engine.plan.streams}
        details, files = self._details() if whole else ({}, {})
        return RunStatus(
            graph=engine.plan.graph.name,
            state=engine.state,
            started=self._started,
            now=now,
            last_update=max((context.meter.last for context in engine.contexts), default=0.0) or None,
            records=sum(streams[name].records for name, stream in engine.plan.streams.items() if not _reads(stream)),
            errors=engine.errors.count,
            in_flight=engine.flow.in_flight,
            degraded=self._degraded(),
            streams=streams,
            steps=steps,
            backlog=self._backlog(now),
            files=files,
            details=details,
            last_errors=list(engine.errors.last),
            checkpoints=engine.checkpoints.taken,
            checkpoint_seconds=engine.checkpoints.seconds,
            checkpoint_pause=engine.checkpoints.pause,
            checkpoint_pauses=dict(zip((*map(str, PAUSES), "+Inf"), engine.checkpoints.pauses, strict=True)),
            checkpoint_paused=engine.checkpoints.paused,
            checkpoint_interval=engine.checkpoints.interval,
            checkpoint_rows=engine.checkpoints.rows,
            checkpoint_bytes=engine.checkpoints.nbytes,
            checkpoint_time=engine.checkpoints.last,
            state_bytes=engine.state_bytes if whole else 0,
        )

    def note_end(self, state: str) -> None:
        """Note what is not as it should be at the end, before the steps are closed and have forgotten it."""
        blocks = self._engine.flow.blocks
        self._at_end = self._degraded()
        if self._at_end is None and state == "stopped" and blocks:
            self._at_end = f"{blocks} blocks were not delivered: the next run goes on from the last checkpoint"

    def _degraded(self) -> str | None:
        """The first reason that a step or the checkpoint gives."""
        engine = self._engine
        if engine.over():
            return self._at_end
        if engine.checkpoints.failure is not None:
            return f"checkpoint: {engine.checkpoints.failure}"
        for context in engine.contexts:
            read = context.meter.details.get("degraded")
            reason = _told(context, read) if read is not None else None
            if reason:
                return masked(f"{context.name}: {reason}")
        waits = engine.clock() - engine.checkpoints.since if engine.checkpoints.since is not None else 0.0
        if waits >= LONG_CHECKPOINT:
            return f"checkpoint: waits since {waits:.0f} s for {engine.flow.blocks} blocks that are not done with"
        return None

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What steps tell of themselves, and the files among it."""
        details: dict[str, Any] = {}
        files: dict[str, Any] = {}
        for context in self._engine.contexts:
            for name, read in context.meter.details.items():
                if name == "files":
                    files.update(_told(context, read))
                elif name != "degraded":
                    details[f"{context.name}.{name}"] = _told(context, read)
        return details, files

    def _steps(self) -> list[StepStatus]:
        contexts = self._engine.contexts
        total = sum(max(0, context.meter.nanoseconds) for context in contexts) or 1
        return [
            StepStatus(
                name=context.name,
                records_in=meter.records_in,
                records_out=meter.records_out,
                bytes_in=meter.bytes_in,
                bytes_out=meter.bytes_out,
                blocks=meter.blocks_in or meter.blocks_out,
                mean_batch=(meter.records_in or meter.records_out) / max(1, meter.blocks_in or meter.blocks_out),
                largest_batch=meter.largest_block,
                errors=meter.errors,
                seconds=max(0, meter.nanoseconds) / 1e9,
                share=max(0, meter.nanoseconds) / total,
                gauges={gauge: float(_told(context, read)) for gauge, read in meter.gauges.items()},
            )
            for context in contexts
            for meter in (context.meter,)
        ]

    def _stream(self, name: str, now: float) -> StreamStatus:
        """A stream's records are the most that one of its steps handled: those before they become a table, say."""
        contexts = [context for context in self._engine.contexts if context.stream == name]
        meters = [context.meter for context in contexts]
        records = max((_records(meter) for meter in meters), default=0)
        return StreamStatus(
            records=records,
            records_per_second=self._rate(name, records, now),
            lag_bytes=sum(_gauges(contexts, "lag_bytes")),
            lag_seconds=max(_gauges(contexts, "lag_seconds"), default=0.0),
            errors=sum(meter.errors for meter in meters),
        )

    def _backlog(self, now: float) -> Backlog | None:
        known = sum(_gauges(self._engine.contexts, "known_bytes"))
        read = sum(_gauges(self._engine.contexts, "read_bytes"))
        if known - read < LEAST_BACKLOG:
            return None
        speed = self._read_rate.at(read, now)
        return Backlog(read, known, speed, (known - read) / speed if speed > 0 else None)


def _told(context: StepContext, read: Callable[[], Any]) -> Any:
    """What a step says of itself; an error in that carries its name."""
    try:
        return read()
    except Exception as error:
        blame(error, context.name)
        raise


def _gauges(contexts: list[StepContext], name: str) -> list[float]:
    """A figure of all steps that tell it."""
    return [float(_told(context, context.meter.gauges[name])) for context in contexts if name in context.meter.gauges]


def _records(meter: Meter) -> int:
    return max(meter.records_in, meter.records_out)


def _reads(stream: PlannedStream) -> bool:
    """Whether a stream begins with others."""
    first = stream.steps[0]
    return first.reads is not None or bool(first.streams)
