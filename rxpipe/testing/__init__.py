"""Test operators and graphs under virtual time: marbles, a scheduler that jumps, a context that remembers.

    with entered(TestContext()) as context:
        source = MarbleSource("-a-b-|", scheduler=context.virtual)
        assert record(source.pipe(debounce("200ms")), context=context) == parse_marbles("-----(b|)")

`run_marbles` says the same in one line; `run_graph` and `VirtualRun` do it to a whole graph; `docstring_marbles` and
`check_diagram` run the diagrams of docstrings.
"""

from rxpipe.testing.context import DictSaved, TestContext
from rxpipe.testing.diagrams import Diagram, check_diagram, docstring_marbles
from rxpipe.testing.graphs import Recorded, VirtualRun, run_graph
from rxpipe.testing.marbles import Event, MarbleError, format_marbles, parse_marbles
from rxpipe.testing.virtual import MarbleSource, VirtualTimeScheduler, record, run_marbles

__all__ = [
    "Diagram",
    "DictSaved",
    "Event",
    "MarbleError",
    "MarbleSource",
    "Recorded",
    "TestContext",
    "VirtualRun",
    "VirtualTimeScheduler",
    "check_diagram",
    "docstring_marbles",
    "format_marbles",
    "parse_marbles",
    "record",
    "run_graph",
    "run_marbles",
]
