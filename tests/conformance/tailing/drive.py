"""Takes a tool through a scenario: does what its steps say, waits for what must come, and judges what came."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.conformance.tailing.judge import DISORDERED, Problem, Written, judge
from tests.conformance.tailing.scenarios import Scenario, Step
from tests.conformance.tailing.tools import Place, Rxpipe, Tool, start

WRITER = Path(__file__).with_name("writer.py")
_STOPS_WITHIN = 30.0
_DESCRIPTORS = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class Verdict(NamedTuple):
    """What came of one scenario with one tool: why it could not be tried, or all that was wrong, by sink."""

    skipped: str
    problems: dict[str, list[Problem]]

    @property
    def holds(self) -> bool:
        """Whether nothing was wrong."""
        return not any(self.problems.values())

    @property
    def complete(self) -> bool:
        """Whether nothing was wrong but the order."""
        return all(problem.kind == DISORDERED for found in self.problems.values() for problem in found)

    def __str__(self) -> str:
        if self.skipped:
            return f"skipped: {self.skipped}"
        return "; ".join(f"{sink}: {', '.join(map(str, found))}" for sink, found in self.problems.items() if found)


class SkipError(Exception):
    """The machine does not allow what a scenario needs."""


def drive(tool: Tool, scenario: Scenario, folder: Path, *, full: bool = False) -> Verdict:
    """Run one scenario with one tool in an empty folder."""
    place = Place(folder)
    for made in (place.sink, place.state, *([place.logs] if scenario.logs_exist else [])):
        made.mkdir()
    tool.prepare(place, scenario.setting)
    driver = _Driver(tool, scenario, place)
    try:
        return driver.run(full=full)
    except SkipError as skip:
        return Verdict(str(skip), {})
    finally:
        driver.close()


class _Driver:
    """One run of a scenario."""

    def __init__(self, tool: Tool, scenario: Scenario, place: Place) -> None:
        self._tool = tool
        self._scenario = scenario
        self._place = place
        self._random = random.Random(scenario.name)
        self._written = Written()
        self._running: subprocess.Popen[bytes] | None = None
        self._mounted: list[Path] = []
        self._patience = tool.patience
        self._found: list[Problem] = []
        self._orders = 0
        self._started = 0.0
        self._writer = subprocess.Popen(
            [sys.executable, str(WRITER), str(place.folder), scenario.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, *, full: bool) -> Verdict:
        """All steps, then to the end; returns what is wrong."""
        for step in self._scenario.steps(full):
            self._do(step)
        if self._running is None:
            self.start()
        self.settle()
        self.stop()
        problems = {
            sink: judge(names, self._written, across=self._scenario.across)
            for sink, names in self._tool.delivered(self._place).items()
        }
        problems["process"] = self._found
        if isinstance(self._tool, Rxpipe):
            problems["told"] = self._untold(self._tool.told(self._place))
        return Verdict("", problems)

    def _untold(self, told: str) -> list[Problem]:
        """What should have been said."""
        silent = [pattern for pattern in self._scenario.tells if not re.search(pattern, told)]
        return [Problem("silent", len(silent), ", ".join(silent))] if silent else []

    def close(self) -> None:
        """End all processes, and free what was mounted."""
        if self._running is not None:
            self.kill()
        assert self._writer.stdin is not None
        assert self._writer.stdout is not None
        self._writer.stdin.close()
        self._writer.wait(timeout=_STOPS_WITHIN)
        self._writer.stdout.close()
        for at in self._mounted:
            subprocess.run(["umount", "--lazy", str(at)], check=False)

    def _do(self, step: Step) -> None:
        if step.writes:
            self._order(step)
            self._answered()
        else:
            do: Callable[..., None] = getattr(self, step.what)
            do(**step.given)

    def _order(self, step: Step) -> None:
        assert self._writer.stdin is not None
        self._writer.stdin.write(json.dumps([step.what, step.given]).encode() + b"\n")
        self._writer.stdin.flush()
        self._orders += 1

    def _answered(self) -> None:
        """Wait until the writer has done all it was told."""
        assert self._writer.stdout is not None
        while self._orders:
            answer = json.loads(self._writer.stdout.readline())
            self._orders -= 1
            self._written.add(answer["written"])
            if answer["skip"]:
                raise SkipError(answer["skip"])

    # what a scenario can do to the tool

    def start(self, descriptors: int = _DESCRIPTORS) -> None:
        """Start it."""
        assert self._running is None
        self._started = time.monotonic()
        self._running = start(self._tool, self._place, self._scenario.setting, descriptors)

    def stop(self) -> None:
        """Have it end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        running, self._running = self._running, None
        assert running is not None
        if running.poll() is not None:
            self._found.append(Problem("ended", 1, f"exit code {running.returncode}"))
            return
        running.send_signal(number)
        try:
            running.wait(timeout=_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._found.append(Problem("hung", 1, f"did not end on {number.name}"))
            running.kill()
            running.wait()

    def drained(self) -> None:
        """Wait for the others, then have it end, so that what has no newline counts."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop it in the middle of what it does."""
        assert self._running is not None
        self._running.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        assert self._running is not None
        self._running.send_signal(signal.SIGCONT)

    def settle(self) -> None:
        """Wait until all that was written is delivered, or nothing comes any more."""
        at, size, complete = time.monotonic(), -1, False
        file = self._tool.main_file(self._place)
        while True:
            now = file.stat().st_size if file.exists() else 0
            if now != size or complete:
                at, size = at if now == size else time.monotonic(), now
                began = time.monotonic()
                complete = file.exists() and _newlines(file) >= self._written.count
                if complete and self._settled():
                    return
                time.sleep(min(1.0, 2 * (time.monotonic() - began)))  # a look costs as much as there is to look at
            assert self._running is not None
            waited = time.monotonic() - max(at, self._started + self._tool.warm_up)
            if waited > self._patience or self._running.poll() is not None:
                self._patience = min(self._patience, 2.0)  # it will not make up for that
                return
            time.sleep(0.01)  # between two looks

    def _settled(self) -> bool:
        for names in self._tool.delivered(self._place).values():
            if not self._written.all_in(Counter(name for name in names if isinstance(name, tuple))):
                return False
        return True

    def until_told(self, pattern: str) -> None:
        """Wait until rxpipe says something; a peer has said nothing, and is not waited for."""
        if isinstance(self._tool, Rxpipe):
            told = partial(self._tool.told, self._place)
            self._until(lambda: bool(re.search(pattern, told())), f"said {pattern!r}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self._tool.patience
        while not condition():
            if time.monotonic() > end:
                self._found.append(Problem("never", 1, what))
                return
            time.sleep(0.01)  # between two looks

    def storm(self, path: str, times: int, sharp: bool, **given: Any) -> None:
        """Kill it at random moments while the writer goes on; sharp is `kill -9`."""
        self._order(Step("keep_writing", {"path": path, "torn": True, **given}, writes=True))
        file = self._tool.main_file(self._place)
        for _ in range(times):
            before = file.stat().st_size if file.exists() else 0
            self.start()
            end = time.monotonic() + self._patience + self._tool.warm_up
            while time.monotonic() < end and (not file.exists() or file.stat().st_size == before):
                time.sleep(0.005)  # between two looks
            time.sleep(self._random.random() * 0.15)  # the random moment
            self._end(signal.SIGKILL if sharp else signal.SIGTERM)
        self._order(Step("create", {"path": path}, writes=True))
        self._answered()

    def write_for(self, path: str, seconds: float, **given: Any) -> None:
        """Have the writer write all the time."""
        self._order(Step("keep_writing", {"path": path, **given}, writes=True))
        time.sleep(seconds)  # how long it writes
        self._order(Step("create", {"path": path}, writes=True))
        self._answered()

    # what a scenario can do to what it needs; of rxpipe what must be said is looked at, too

    def second_run(self) -> None:
        """Start it a second time with the same state, which must be refused, naming the first one."""
        assert self._running is not None
        if not isinstance(self._tool, Rxpipe):
            raise SkipError("what a second run says is asked of rxpipe only")
        second = subprocess.run(
            self._tool.command(self._place, self._scenario.setting),
            capture_output=True,
            text=True,
            timeout=_STOPS_WITHIN,
            check=False,
        )
        if second.returncode == 0 or f"process {self._running.pid}" not in second.stderr:
            self._found.append(Problem("not refused", 1, second.stderr[-200:]))

    def lose_state(self) -> None:
        """Remove all it knows."""
        for at in list(self._place.state.iterdir()):
            shutil.rmtree(at) if at.is_dir() else at.unlink()

    def empty_sink(self) -> None:
        """Remove all it delivered, as one does who wants it all again."""
        for at in list(self._place.sink.iterdir()):
            at.unlink()

    def age_state(self) -> None:
        """Have the state say that another version wrote it."""
        if not isinstance(self._tool, Rxpipe):
            raise SkipError("made for the state file of rxpipe")
        with contextlib.closing(sqlite3.connect(self._place.state / "state.db")) as db, db:
            db.execute("UPDATE meta SET value = '0' WHERE name = 'format'")

    def renew_state(self) -> None:
        """Have it as it was."""
        with contextlib.closing(sqlite3.connect(self._place.state / "state.db")) as db, db:
            db.execute("UPDATE meta SET value = '1' WHERE name = 'format'")

    def refused(self) -> None:
        """Wait until it has ended because it would not go on; a peer may go on and do it right."""
        assert self._running is not None
        if not isinstance(self._tool, Rxpipe):
            self.settle()
            self.stop()
            return
        running, self._running = self._running, None
        try:
            if running.wait(timeout=_STOPS_WITHIN) == 0:
                self._found.append(Problem("not refused", 1, "exit code 0"))
        except subprocess.TimeoutExpired:
            self._found.append(Problem("not refused", 1, "goes on"))
            running.kill()
            running.wait()

    def small_disk(self, folder: str, size: str = "256k") -> None:
        """Have a folder be a small file system of its own."""
        at = self._place.folder / folder
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], capture_output=True, check=False
        )
        if mounted.returncode:
            raise SkipError("a file system can be mounted by root only")
        self._mounted.append(at)

    def fill_disk(self, folder: str) -> None:
        """Leave no room on it."""
        with (self._place.folder / folder / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)

    def free_disk(self, folder: str) -> None:
        """Make room again."""
        (self._place.folder / folder / "filling").unlink()

    def replace_sink(self) -> None:
        """Put a copy of what it writes to in its place, from outside."""
        file = self._tool.main_file(self._place)
        shutil.copyfile(file, f"{file}.copy")
        os.rename(f"{file}.copy", file)

    def move_sink(self, away: bool) -> None:
        """Move it away, or back, before what was written there meanwhile."""
        file = self._tool.main_file(self._place)
        aside = Path(f"{file}.away")
        if away:
            file.rename(aside)
            return
        with aside.open("ab") as end:
            end.write(file.read_bytes() if file.exists() else b"")
        aside.rename(file)


def _newlines(path: Path) -> int:
    return sum(block.count(b"\n") for block in _blocks(path))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
