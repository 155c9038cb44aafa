"""Tasks that each ask a service once, as other tools are told to: `batch_peers.py PEER URL TASKS FOLDER`.

Each has four workers; what a tool keeps, it keeps in FOLDER. Prints how many answers came.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

WORKERS = 4


def body(number: int) -> dict[str, Any]:
    """The request of one task."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Document {number}"}]}


def rxpipe(url: str, tasks: int, folder: str) -> int:
    """The graph that one would write: a durable store, a limit, the model, all with a state."""
    rx = import_module("reactivex")
    package, memory = import_module("rxpipe"), import_module("rxpipe.runtime.memory")
    import_module("rxpipe.runtime.logs").configure("WARNING", "text")
    memory.tune()  # as `rxpipe run` does
    operators, answered = import_module("rxpipe.operators"), [0]

    def count(batch: Any) -> None:
        answered[0] += len(batch.rows)

    rows = package.Batch([{"n": number} for number in range(tasks)])
    steps = [
        rx.of(rows),
        operators.tasks("n", store=f"{folder}/tasks.sqlite"),
        operators.retry(),
        operators.limit(concurrency=WORKERS),
        operators.chat(model="gpt-4o-mini", base_url=url, prompt="Document {{n}}"),
        operators.to_callback(count),
    ]
    with package.Graph("batch", {"main": steps}).run(once=True, state=f"{folder}/state.sqlite") as run:
        run.wait()
    return answered[0]


def semaphore(url: str, tasks: int, _: str) -> int:
    """What many write by hand: nothing is kept, and what fails is lost."""
    httpx = import_module("httpx")

    async def whole() -> int:
        free = asyncio.Semaphore(WORKERS)

        async def ask(client: Any, number: int) -> str:
            async with free:
                answer = await client.post(f"{url}/chat/completions", json=body(number))
                return str(answer.json()["choices"][0]["message"]["content"])

        async with httpx.AsyncClient(trust_env=False) as client:
            return len(await asyncio.gather(*(ask(client, number) for number in range(tasks))))

    return asyncio.run(whole())


_MINE = threading.local()


def ask(url: str, number: int) -> str:
    """A call for tools that have threads; each thread has a client, as httpx asks for."""
    if not hasattr(_MINE, "client"):
        _MINE.client = import_module("httpx").Client(trust_env=False)
    answer = _MINE.client.post(f"{url}/chat/completions", json=body(number))
    return str(answer.json()["choices"][0]["message"]["content"])


def asking(url: str) -> Callable[[int], str]:
    """That call, as a function of this module by its name: Dask sends it to its workers, which import it."""
    return partial(import_module("batch_peers").ask, url)


def huey(url: str, tasks: int, folder: str) -> int:
    """Its queue in SQLite, made durable, and its consumer's threads."""
    queue = import_module("huey").SqliteHuey(filename=f"{folder}/huey.sqlite", fsync=True)
    call, answered, lock = asking(url), [0], threading.Lock()

    @queue.task()  # type: ignore[untyped-decorator]  # huey has no types
    def one(number: int) -> str:
        text = call(number)
        with lock:
            answered[0] += 1
        return text

    for number in range(tasks):
        one(number)
    consumer = queue.create_consumer(workers=WORKERS)
    consumer.start()
    while answered[0] < tasks:
        time.sleep(0.01)  # between two looks at what is left
    consumer.stop(graceful=True)
    return answered[0]


def dask(url: str, tasks: int, folder: str) -> int:
    """Its local cluster of threads; nothing outlives the process."""
    distributed = import_module("distributed")
    cluster = {"processes": False, "n_workers": 1, "threads_per_worker": WORKERS, "dashboard_address": None}
    with distributed.Client(**cluster, local_directory=folder) as client:
        return len(client.gather(client.map(asking(url), range(tasks), pure=False)))


def prefect(url: str, tasks: int, folder: str) -> int:
    """Its flow with a runner of threads, and a server that it starts for the run."""
    os.environ |= {"PREFECT_HOME": folder, "PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_SERVER_ANALYTICS_ENABLED": "0"}
    package, runners = import_module("prefect"), import_module("prefect.task_runners")
    logging.getLogger("prefect").setLevel(logging.WARNING)
    call = asking(url)

    @package.task  # type: ignore[untyped-decorator]  # not installed where types are checked
    def one(number: int) -> str:
        return call(number)

    @package.flow(task_runner=runners.ThreadPoolTaskRunner(max_workers=WORKERS))  # type: ignore[untyped-decorator]  # not installed where types are checked
    def flow() -> int:
        return len(one.map(range(tasks)).result())

    return int(flow())


PEERS: dict[str, Callable[[str, int, str], int]] = {
    "rxpipe": rxpipe,
    "semaphore": semaphore,
    "huey": huey,
    "dask": dask,
    "prefect": prefect,
}


if __name__ == "__main__":
    print(PEERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), sys.argv[4]))
