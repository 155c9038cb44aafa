"""A run killed at any moment, and a machine that loses its power, lose nothing and double nothing.

As a program it does so for longer: `python -m tests.faults.test_crash KILLS [SEED]`, which is `make crash KILLS=2000`.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk import Disk, Event, compiled, events, put
from tests.faults.harness import GRAPH, Server, World

RANDOM, POINTS, LOSSES = 10, 12, 8
"""In each round: kills at random moments, kills at system calls, and losses of power."""

RECORDED = 300, 800
"""How many system calls of a run are noted, from and to."""


class Crashes:
    """Worlds with one server.

    Args:
        folder: Where the worlds are.
        shim: The compiled `shim.c`.
    """

    def __init__(self, folder: Path, shim: Path | None) -> None:
        self.folder = folder
        graph = folder / "graph.yaml"
        graph.write_text(GRAPH)
        self.server = Server(graph, shim)
        self.traced = shim is not None
        self.kills: Counter[str] = Counter()

    def world(self, seed: int) -> World:
        """A new one."""
        return World(self.server, self.folder / str(seed), seed)

    def at_random(self, seed: int, kills: int) -> list[str]:
        """Kill at random moments; what is wrong then."""
        world = self.world(seed)
        for _ in range(kills):
            world.kill_at_random()
        self.kills["at random moments"] += kills
        return self._ended(world)

    def at_system_calls(self, seed: int, kills: int | None = None) -> list[str]:
        """Kill before (and in) system calls, each different one at least once unless told how many; what is wrong."""
        world = self.world(seed)
        first, later = ({event.name for event in self._recorded(world)} for _ in range(2))
        names = [(name, name not in later) for name in sorted(first | later)]
        for name, afresh in names if kills is None else world.rng.sample(names, min(kills, len(names))):
            if afresh:
                put(world.folder, {})
            at, torn = 1 if afresh else world.rng.choice((1, 1, 2, 3, 7)), world.rng.randrange(2)
            run = world.run("--for", "1s", faults=(str(world.folder), "", name, at, torn))
            code = run.wait()
            assert code in (0, -signal.SIGKILL), world.log()
            self.kills["at system calls" if code else "ran through"] += 1
        return self._ended(world)

    def power_losses(self, seed: int, losses: int) -> list[str]:
        """Cut the record of the system calls of three runs anywhere, and lose what was not synced; what is wrong."""
        world = self.world(seed)
        noted = [event for _ in range(3) for event in self._recorded(world)]
        world.stop()
        wrong: list[str] = []
        for number in range(losses):
            cut = world.rng.randrange(len(noted) if number % 4 else min(len(noted), 200))  # often while it begins
            disk = Disk(Path(world.folder, "nothing"))
            for event in noted[:cut]:
                disk.happened(event)
            put(world.folder, disk.after_power_loss(world.rng))
            self.kills["losses of power"] += 1
            wrong += [f"power lost before call {cut} of seed {seed}, {noted[cut].name}: {it}" for it in world.finish()]
        shutil.rmtree(world.folder)
        return wrong

    def _recorded(self, world: World) -> list[Event]:
        """The system calls of a run, which is killed at the last: at any other moment one that was made may lack."""
        log = self.folder / "calls"
        log.unlink(missing_ok=True)
        run = world.run(faults=(str(world.folder), str(log), "", world.rng.randrange(*RECORDED), 0))
        assert run.wait() == -signal.SIGKILL, world.log()
        return list(events(log))

    def _ended(self, world: World) -> list[str]:
        world.stop()
        wrong = [f"seed {world.folder.name}: {it}" for it in world.finish()]
        if not wrong:
            shutil.rmtree(world.folder)
        return wrong


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    """Worlds that can be crashed in every way."""
    folder = tmp_path_factory.mktemp("crashes")
    made = Crashes(folder, compiled(folder))
    with made.server:
        yield made


@pytest.fixture
def traced(crashes: Crashes) -> Crashes:
    """The same, where system calls can be told."""
    if not crashes.traced:
        pytest.skip("needs Linux and a C compiler, `cc`")
    return crashes


def test_killed_at_random_moments(crashes: Crashes) -> None:
    assert crashes.at_random(1, RANDOM) == []


def test_killed_at_system_calls(traced: Crashes) -> None:
    assert traced.at_system_calls(2, POINTS) == []
    assert traced.kills["at system calls"] > 0


def test_power_lost(traced: Crashes) -> None:
    assert traced.power_losses(3, LOSSES) == []


def main(kills: int, seed: int) -> int:
    """Crash as often as told, in ever new worlds; the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crashes = Crashes(folder, compiled(folder))
        wrong: list[str] = []
        with crashes.server:
            while crashes.kills.total() < kills:
                found = crashes.at_random(seed, RANDOM)
                if crashes.traced:
                    found += crashes.at_system_calls(seed + 1)
                    found += crashes.power_losses(seed + 2, 4 * LOSSES)
                for line in found:
                    print(line, flush=True)
                wrong += found
                seed += 3
        told = ", ".join(f"{count:,} {what}" for what, count in crashes.kills.items())
        print(f"{told}: {len(wrong):,} things wrong")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)))
