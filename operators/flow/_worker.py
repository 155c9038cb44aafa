"""A worker process: steps applied to what comes through a socket, until that is closed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from rxpipe.errors import RxpipeError
from rxpipe.lease import Flow, Lease
from rxpipe.operator import Step
from rxpipe.operators.flow._pipeline import Pipeline
from rxpipe.operators.flow._wire import dumps, loads, plain, receive, restored, send, slots
from rxpipe.registry import registry
from rxpipe.runtime.memory import tune
from rxpipe.unread import Unread, UnreadableError

BLOCK = 256 * 1024
"""Bytes of unread lines that are read, and worked on, at a time: as many as fit into what is near a processor."""


class Setup(NamedTuple):
    """What a worker is to do.

    Attributes:
        name: The name of the step that the steps are in.
        folder: The graph's folder.
        steps: Name of the operator, file it is in, and parameters as given, of each step.
    """

    name: str
    folder: Path
    steps: list[tuple[str, str, dict[str, Any]]]

    def pipeline(self) -> Pipeline:
        """The steps, ready to run."""
        return Pipeline(self.name, [_step(*step) for step in self.steps], self.folder)


def _step(name: str, file: str, parameters: dict[str, Any]) -> Step:
    operator = registry.get(name)
    if operator is None:  # a plugin's
        registry.load_folder(Path(file).parent)
        operator = registry.get(name)
    if operator is None:
        msg = f"operator {name!r} must be found in the worker too; it is in {file}"
        raise RxpipeError(msg)
    return Step(operator, parameters)


def serve(descriptor: int, memory: int) -> None:
    """Do what is asked for until the run, or its process, is gone. Ctrl-C is the run's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune()
    flow = Flow()
    shared = slots(memory)
    os.close(memory)
    number = 0
    with socket.socket(fileno=descriptor) as run, run.makefile("rb") as asked:
        first = receive(asked)
        pipeline: Pipeline | None = None
        failure = ""
        try:
            pipeline = None if first is None else loads(first).pipeline()
        except Exception as error:  # whatever an operator raises when it is made
            failure = _said(error)
        send(run, [])  # ready
        while (message := receive(asked, shared[number % len(shared)])) is not None:
            number += 1
            if pipeline is not None:
                try:
                    begun = perf_counter()
                    elements, errors = pipeline.run(_read(restored(loads(message), None, flow), flow))
                    answer = dumps(([plain(element) for element in elements], errors, perf_counter() - begun))
                except UnreadableError:
                    answer = dumps(None)
                except Exception as error:  # a step is at fault: the run is told, and ends
                    pipeline, failure = None, _said(error)
            if pipeline is None:
                answer = dumps(failure)
            send(run, answer)


def _read(element: Any, flow: Flow) -> Iterator[Any]:
    """The element; of lines that are unread one block after the other, each of which may have its errors."""
    if not isinstance(element, Unread):
        yield element
        return
    for block in element.read(BLOCK):
        yield block._replace(lease=Lease(flow, 0, block.path, block.start, block.end))


def _said(error: Exception) -> str:
    text = str(error) if isinstance(error, RxpipeError) else f"{type(error).__name__}: {error}"
    step = getattr(error, "rxpipe_step", None)
    return text if step is None or text.startswith(step) else f"{step}: {text}"
