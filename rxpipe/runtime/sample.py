"""Sample data for a graph: a generator that makes files in a temporary folder, driven by the loop of the run."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph
from rxpipe.log import logger
from rxpipe.parameters.calls import function_named


class SampleData:
    """A folder that a graph's sample function fills: first what was there before, then live changes.

    The function takes the folder and returns an iterator; each step of it changes something and gives the seconds until
    the next step. The folder is there from `with` to the end of its block.

    Args:
        graph: A graph with a `sample:` section.

    Attributes:
        folder: Where the data is.

    Raises:
        RxpipeError: The graph has none, or its function cannot be found.
    """

    def __init__(self, graph: Graph) -> None:
        if graph.sample is None:
            must = "its file needs a section 'sample: {call: module:function, sets: parameter}'"
            msg = f"graph {graph.name!r} has no sample data: {must}"
            raise RxpipeError(msg)
        self._function = function_named(graph.sample.call)
        self._path = graph.sample.path
        self._sets = graph.sample.sets
        self._values = graph.sample.values
        self.folder = Path(tempfile.gettempdir()) / f"rxpipe-sample-{uuid4().hex[:12]}"
        self._steps: Iterator[float] = iter(())
        self._delay: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Write what was there before the run began."""
        self.folder.mkdir(mode=0o700)
        try:
            self._steps = iter(self._function(self.folder))
            self._delay = next(self._steps, None)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the folder."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the graph's parameters: those given, but for the one that points at the folder."""
        return {**self._values, **given, self._sets: [str(self.folder / self._path)]}

    def play(self) -> None:
        """Go on making changes, on the loop that is running, until the block ends or there are no more."""
        if self._delay is not None:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._step)

    def end(self) -> None:
        """Make no more changes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        try:
            self._delay = next(self._steps, None)
        except Exception as error:  # whatever the graph's function raises: the run goes on without it
            logger.error("sample data: no more changes: {}: {}", type(error).__name__, error)
            return
        self.play()
