"""Batch work beside other tools: each of so many tasks asks a service once that answers at once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from measure import HERE, PEER_PYTHON, Job, compare, installed

from rxpipe.testing.service import Behaviour, Service

TASKS = 2_000
PEERS = {
    "asyncio and a semaphore, nothing kept": ("semaphore", "httpx"),
    "huey on SQLite, synchronous": ("huey", "huey"),
    "Dask, a local cluster of threads": ("dask", "distributed"),
    "Prefect, a flow with threads": ("prefect", "prefect"),
}


def measure(folder: Path, runs: int) -> None:
    """Compare whole processes; the service, in this one, counts that each task asked once."""
    with Service(Behaviour(latency="0s")) as service:
        asked = [0]

        def job(python: str, peer: str) -> Job:
            own = folder / peer

            def prepare() -> None:
                shutil.rmtree(own, ignore_errors=True)
                own.mkdir()
                asked[0] = service.stats().get("asked", 0)

            def check(printed: bytes) -> None:
                came, calls = int(printed.split()[-1]), service.stats().get("asked", 0) - asked[0]
                if (came, calls) != (TASKS, TASKS):
                    sys.exit(f"{peer}: {TASKS} tasks; {came} answers came, {calls} calls were made")

            command = [python, str(HERE / "batch_peers.py"), peer, service.url, str(TASKS), str(own)]
            return Job(command, prepare=prepare, check=check)

        found = installed([module for _, module in PEERS.values()])
        jobs = {"rxpipe: tasks, retry, limit, chat": job(sys.executable, "rxpipe")}
        jobs |= {name: job(PEER_PYTHON, peer) for name, (peer, module) in PEERS.items() if module in found}
        compare(f"{TASKS:,} tasks that each ask a service once, four at a time", jobs, runs)
