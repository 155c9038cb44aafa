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
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from rxpipe.elements import ErrorRecord
from rxpipe.errors import RxpipeError
from rxpipe.lease import Flow
from rxpipe.operators.flow._call import leases_of
from rxpipe.operators.flow._wire import Message, dumps, loads, plain, receive, restored, send, shared_memory, slots
from rxpipe.operators.flow._worker import Setup
from rxpipe.unread import UnreadableError


class Made(NamedTuple):
    """What the steps made of an element, and what they rejected of it.

    A process tells in how many seconds, and how many bytes came back.
    """

    elements: list[Any]
    errors: list[ErrorRecord]
    seconds: float = 0.0
    nbytes: int = 0


_CODE = "import sys; from rxpipe.operators.flow._worker import serve; serve(*map(int, sys.argv[1:]))"


class WorkerError(RxpipeError):
    """An element that no worker could do."""


class _DiedError(Exception):
    """The worker is gone.

    Args:
        of_it: Whether it may be gone because of the element, and not of one that was before it.
    """

    def __init__(self, *, of_it: bool) -> None:
        super().__init__()
        self.of_it = of_it


class Worker(Protocol):
    """Does one element at a time.

    Attributes:
        ahead: How many it may be given: one that it is at work on, and perhaps the next.
    """

    ahead: int

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

    ahead = 1

    def __init__(self, setup: Setup) -> None:
        self._pipeline = setup.pipeline()

    def run(self, element: Any) -> Made:
        """Do it here."""
        return Made(*self._pipeline.run([element]))

    def close(self) -> None:
        """A thread cannot be ended."""


class ProcessWorker:
    """A process of its own. It imports nothing of the program that runs the graph, and ends with it however that ends.

    Args:
        setup: What to do.
        timeout: Seconds that one element may take.
    """

    ahead = 2

    def __init__(self, setup: Setup, timeout: float | None) -> None:
        self._timeout = timeout
        self._flow = Flow()
        self._sending = threading.Lock()
        self._sent = 0
        self._turn = threading.Condition()
        self._answered = 0
        self._gone = self._ready = False
        self._socket, other = socket.socketpair()
        self._answers = self._socket.makefile("rb")
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        with other, shared_memory(self.ahead) as memory:
            self._slots = slots(memory.fileno())
            passed = [other.fileno(), memory.fileno()]
            command = [sys.executable, "-c", _CODE, *map(str, passed)]
            self.process = subprocess.Popen(  # noqa: S603  # this very Python
                command, stdin=subprocess.DEVNULL, pass_fds=passed, env=environ
            )
        with contextlib.suppress(OSError):  # it died at once: the first element finds out
            send(self._socket, dumps(setup))

    def run(self, element: Any) -> Made:
        """Have it done there; it is sent at once, also while the process is at work on another one.

        Raises:
            _DiedError: The process is gone.
            TimeoutError: It takes too long.
            UnreadableError: The lines are not where they were left.
            RxpipeError: A step failed.
        """
        message = dumps(plain(element))
        with self._sending:
            number, self._sent = self._sent, self._sent + 1
            with contextlib.suppress(OSError):  # it is gone: whoever waits for its answer finds out
                send(self._socket, message, self._slots[number % self.ahead])
        answer = self._answer(number)
        made = loads(answer)
        if made is None:
            msg = "the lines are not where they were left"
            raise UnreadableError(msg)
        if isinstance(made, str):
            raise RxpipeError(made)
        elements, errors, spent = made
        leases = leases_of(element)
        return Made([restored(data, leases, self._flow) for data in elements], errors, spent, sum(map(len, answer)))

    def _answer(self, number: int) -> Message:
        """The answer to what was sent as the how manieth, when its turn comes."""
        with self._turn:
            self._turn.wait_for(lambda: self._gone or self._answered == number)
            if self._gone:
                raise _DiedError(of_it=False)
            try:
                if not self._ready:  # it has imported what it needs: that is not the element's time
                    self._ready = receive(self._answers) is not None
                    self._socket.settimeout(self._timeout)
                answer = receive(self._answers)
            except TimeoutError:
                self._gone = True
                raise
            except OSError as error:
                self._gone = True
                raise _DiedError(of_it=True) from error
            else:
                self._gone = answer is None
                self._answered += 1
                if answer is None:
                    raise _DiedError(of_it=True)
                return answer
            finally:
                self._turn.notify_all()

    def close(self) -> None:
        """Kill the process: it has nothing that must be saved."""
        with contextlib.suppress(OSError):  # the process is gone already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for an answer
        self.process.kill()
        self.process.wait()
        with self._sending, self._turn:
            self._gone = True
            self._answers.close()
            self._socket.close()
            self._turn.notify_all()


class Workers:
    """As many workers as there are to be; whoever has an element to be done waits for one that can be given it.

    A process is given one element ahead, so that it need not wait for the run when it is done with another one.

    Args:
        make: Makes a worker.
        count: How many.
    """

    def __init__(self, make: Callable[[], Worker], count: int) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._closed = False
        self._instead: WeakKeyDictionary[Worker, Worker] = WeakKeyDictionary()
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._all = {make() for _ in range(count)}
        for place in range(max(worker.ahead for worker in self._all)):
            for worker in self._all:
                if place < worker.ahead:
                    self._idle.put(worker)

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
        deaths = 0
        try:
            while deaths < 2 and not self._closed:
                try:
                    return worker.run(element)
                except _DiedError as died:
                    deaths += died.of_it
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
        """The worker in the place of one that is gone, made by whoever asks first."""
        worker.close()
        with self._lock:
            if worker in self._all:
                self._all.discard(worker)
                self._instead[worker] = made = self._make()
                self._all.add(made)
            return self._instead.get(worker, worker)
