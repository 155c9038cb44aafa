"""The workers of `parallel`: threads or processes, each doing one block at a time; one that dies is replaced."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from rxpipe.elements import ErrorRecord
from rxpipe.errors import RxpipeError
from rxpipe.lease import Flow
from rxpipe.operators.flow._calls import leases_of
from rxpipe.operators.flow._wire import dumps, loads, plain, receive, restored, send
from rxpipe.operators.flow._worker import Setup

Made = tuple[list[Any], list[ErrorRecord]]
"""What the steps made of an element, and what they rejected of it."""

_BUFFER = 1024 * 1024
"""Bytes that a socket takes without waiting for the other end, if the system allows."""

_CODE = "import sys; from rxpipe.operators.flow._worker import serve; serve(int(sys.argv[1]))"


class WorkerError(RxpipeError):
    """An element that no worker could do."""


class _Died(Exception):  # noqa: N818  # not told to anybody
    """The worker is gone."""


class Worker(Protocol):
    """Does one element at a time."""

    def run(self, element: Any) -> Made:
        """Do it."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


class ThreadWorker:
    """The steps, run by the thread that asks.

    Args:
        setup: What to do.
    """

    def __init__(self, setup: Setup) -> None:
        self._pipeline = setup.pipeline()

    def run(self, element: Any) -> Made:
        """Do it here."""
        return self._pipeline.run(element)

    def close(self) -> None:
        """A thread cannot be ended."""


class ProcessWorker:
    """A process of its own. It imports nothing of the program that runs the graph, and ends with it however that ends.

    Args:
        setup: What to do.
        timeout: Seconds that one element may take.
    """

    def __init__(self, setup: Setup, timeout: float | None) -> None:
        self._timeout = timeout
        self._flow = Flow()
        self._busy = threading.Lock()
        self._ready = False
        self._socket, other = socket.socketpair()
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        with other:
            for end in (self._socket, other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            command = [sys.executable, "-c", _CODE, str(other.fileno())]
            self.process = subprocess.Popen(  # noqa: S603  # this very Python
                command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()], env=environ
            )
        with contextlib.suppress(OSError):  # it died at once: the first element finds out
            send(self._socket, dumps(setup))

    def run(self, element: Any) -> Made:
        """Have it done there.

        Raises:
            _Died: The process is gone.
            TimeoutError: It takes too long.
            RxpipeError: A step failed.
        """
        try:
            with self._busy:
                if not self._ready:  # it has imported what it needs: that is not the element's time
                    self._ready = receive(self._socket) is not None
                self._socket.settimeout(self._timeout)
                send(self._socket, dumps(plain(element)))
                answer = receive(self._socket)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Died from error
        if answer is None:
            raise _Died
        made = loads(answer)
        if isinstance(made, str):
            raise RxpipeError(made)
        elements, errors = made
        leases = leases_of(element)
        return [restored(data, leases, self._flow) for data in elements], errors

    def close(self) -> None:
        """Kill the process: it has nothing that must be saved."""
        with contextlib.suppress(OSError):  # the process is gone already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for an answer
        self.process.kill()
        self.process.wait()
        with self._busy:
            self._socket.close()


class Workers:
    """As many workers as there are to be; whoever has an element to be done waits for one that is idle.

    Args:
        make: Makes a worker.
        count: How many.
    """

    def __init__(self, make: Callable[[], Worker], count: int) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._closed = False
        self._all: set[Worker] = set()
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for _ in range(count):
            self._idle.put(self._new())

    @property
    def all(self) -> list[Worker]:
        """Those that there are now."""
        return list(self._all)

    def run(self, element: Any) -> Made:
        """Have an element done; if the worker dies, by another one, once.

        Raises:
            WorkerError: Both died, or the worker took too long.
            RxpipeError: A step failed.
        """
        worker = self._idle.get()
        try:
            for _ in range(2):
                if self._closed:
                    break
                try:
                    return worker.run(element)
                except _Died:
                    worker = self._replaced(worker)
                except TimeoutError:
                    worker = self._replaced(worker)
                    msg = "the block took longer than 'timeout'; its worker was replaced"
                    raise WorkerError(msg) from None
        finally:
            self._idle.put(worker)
        msg = "two workers died of the block, or while they had it"
        raise WorkerError(msg)

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.close()

    def _replaced(self, worker: Worker) -> Worker:
        worker.close()
        self._all.discard(worker)
        return worker if self._closed else self._new()

    def _new(self) -> Worker:
        worker = self._make()
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        worker.close()
        return worker
