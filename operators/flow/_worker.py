"""A worker process: steps applied to what comes through a socket, until that is closed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any, NamedTuple

from rxpipe.errors import RxpipeError
from rxpipe.lease import Flow
from rxpipe.operator import Step
from rxpipe.operators.flow._pipeline import Pipeline
from rxpipe.operators.flow._wire import dumps, loads, plain, receive, restored, send, slots
from rxpipe.registry import registry
from rxpipe.runtime.memory import tune


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
        except Exception as error:  # noqa: BLE001  # whatever an operator raises when it is made
            failure = _said(error)
        send(run, [])  # ready
        while (message := receive(asked, shared[number % len(shared)])) is not None:
            number += 1
            if pipeline is not None:
                try:
                    elements, errors = pipeline.run(restored(loads(message), None, flow))
                    answer = dumps(([plain(element) for element in elements], errors))
                except Exception as error:  # noqa: BLE001  # a step is at fault: the run is told, and ends
                    pipeline, failure = None, _said(error)
            if pipeline is None:
                answer = dumps(failure)
            send(run, answer)


def _said(error: Exception) -> str:
    text = str(error) if isinstance(error, RxpipeError) else f"{type(error).__name__}: {error}"
    step = getattr(error, "rxpipe_step", None)
    return text if step is None or text.startswith(step) else f"{step}: {text}"
