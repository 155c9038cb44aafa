"""What a run says of itself: `RunStatus`, computed from the meters when somebody asks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxpipe.engine import Engine


@dataclass(frozen=True)
class StepStatus:
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


@dataclass(frozen=True)
class StreamStatus:
    """One stream: records that left it, in all and per second; how far its sources are behind, in bytes and seconds."""

    records: int
    records_per_second: float
    lag_bytes: float
    lag_seconds: float
    errors: int


@dataclass(frozen=True)
class Backlog:
    """Data that was there before the run began to read: bytes known and read, and when it will be read."""

    read_bytes: float
    known_bytes: float
    bytes_per_second: float
    eta_seconds: float | None


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment. Times are in seconds since the epoch.

    Attributes:
        state: new, running, paused, draining, done, failed or stopped.
        last_update: When a record last left a stream; None before the first.
        records: Records read from the sources' files and queues.
        errors: Records, lines and files that could not be handled.
        degraded: Why the run is not in full health, or None.
        files: For each file read: its offset, size and lag in bytes.
        details: What steps tell of themselves, such as how a folder is watched.
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
    files: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    checkpoint_rows: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The status as plain data."""
        return asdict(self)


class _Rate:
    """A rate over the last seconds, whoever asks however often."""

    __slots__ = ("_count", "_rate", "_time")

    def __init__(self, now: float) -> None:
        self._time = now
        self._count = 0.0
        self._rate = 0.0

    def at(self, count: float, now: float) -> float:
        elapsed = now - self._time
        if elapsed >= 0.5:  # noqa: PLR2004  # shorter spans give noise
            self._rate = max(0.0, count - self._count) / elapsed
            self._time, self._count = now, count
        return self._rate


class Monitor:
    """Makes the status of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started = engine.clock()
        self._rates: dict[str, _Rate] = {}
        self._seen = -1
        self._last_update: float | None = None

    def _rate(self, name: str, count: float, now: float) -> float:
        rate = self._rates.get(name)
        if rate is None:
            rate = self._rates[name] = _Rate(self._started)
        return rate.at(count, now)

    def status(self) -> RunStatus:
        """The run as it is now."""
        engine = self._engine
        now = engine.clock()
        steps = self._steps()
        streams = {name: self._stream(name, now) for name in engine.plan.streams}
        records = sum(context.meter.records_in for context in engine.contexts)
        if records != self._seen:
            if self._seen >= 0 or records:
                self._last_update = now
            self._seen = records
        details = {
            f"{context.name}.{name}": read() for context in engine.contexts for name, read in context.meter.details.items()
        }
        files: dict[str, Any] = {}
        for name in [name for name in details if name.endswith(".files")]:
            files.update(details.pop(name))
        return RunStatus(
            graph=engine.plan.graph.name,
            state=engine.state,
            started=self._started,
            now=now,
            last_update=self._last_update,
            records=max((status.records for status in streams.values()), default=0),
            errors=engine.errors,
            in_flight=engine.flow.in_flight,
            degraded=self._degraded(),
            streams=streams,
            steps=steps,
            backlog=self._backlog(now),
            files=files,
            details=details,
            checkpoints=engine.checkpoints.taken,
            checkpoint_seconds=engine.checkpoints.seconds,
            checkpoint_rows=engine.checkpoints.rows,
        )

    def _degraded(self) -> str | None:
        """The first reason that a step or the checkpoint gives."""
        if self._engine.checkpoints.failure is not None:
            return f"checkpoint: {self._engine.checkpoints.failure}"
        for context in self._engine.contexts:
            read = context.meter.details.get("degraded")
            reason = read() if read is not None else None
            if reason:
                return f"{context.name}: {reason}"
        return None

    def _steps(self) -> list[StepStatus]:
        meters = [(context.name, context.meter) for context in self._engine.contexts]
        total = sum(max(0, meter.nanoseconds) for _, meter in meters) or 1
        return [
            StepStatus(
                name=name,
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
                gauges={gauge: float(read()) for gauge, read in meter.gauges.items()},
            )
            for name, meter in meters
        ]

    def _stream(self, name: str, now: float) -> StreamStatus:
        """A stream's records are those that enter its sinks, or leave its last step that has any."""
        meters = [context.meter for context in self._engine.contexts if context.stream == name]
        records = max((max(meter.records_in, meter.records_out) for meter in meters), default=0)
        return StreamStatus(
            records=records,
            records_per_second=self._rate(name, records, now),
            lag_bytes=sum(float(meter.gauges["lag_bytes"]()) for meter in meters if "lag_bytes" in meter.gauges),
            lag_seconds=max(
                (float(meter.gauges["lag_seconds"]()) for meter in meters if "lag_seconds" in meter.gauges), default=0.0
            ),
            errors=sum(meter.errors for meter in meters),
        )

    def _backlog(self, now: float) -> Backlog | None:
        known = read = 0.0
        for context in self._engine.contexts:
            gauges = context.meter.gauges
            if "known_bytes" in gauges and "read_bytes" in gauges:
                known += gauges["known_bytes"]()
                read += gauges["read_bytes"]()
        if known <= 0 or read >= known:
            return None
        speed = self._rate("backlog", read, now) or read / max(1e-9, now - self._started)
        return Backlog(read, known, speed, (known - read) / speed if speed > 0 else None)
