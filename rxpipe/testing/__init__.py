"""Test operators and graphs under virtual time: marbles, a scheduler that jumps, a context that remembers.

    with entered(TestContext()) as context:
        source = MarbleSource("-a-b-|", scheduler=context.virtual)
        assert record(source.pipe(debounce("200ms")), context=context) == parse_marbles("-----(b|)")

`run_marbles` says the same in one line; `run_graph` and `VirtualRun` do it to a whole graph; `cases_of` and `run_case`
run the tests that a graph holds; `docstring_marbles` and `check_diagram` run the diagrams of docstrings; `Receiver` is
a server for graphs that send; `Service` is one for graphs that ask models, slow, limited and failing as it is told.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxpipe.testing.context import DictSaved, TestContext
    from rxpipe.testing.diagrams import Diagram, check_diagram, docstring_marbles
    from rxpipe.testing.graphs import Recorded, VirtualRun, run_graph
    from rxpipe.testing.graphtest import run_case
    from rxpipe.testing.marbles import Event, MarbleError, format_marbles, parse_marbles
    from rxpipe.testing.receiver import Answer, Received, Receiver
    from rxpipe.testing.section import cases_of
    from rxpipe.testing.service import Behaviour, Desk, Service
    from rxpipe.testing.virtual import MarbleSource, VirtualTimeScheduler, record, run_marbles

_HOMES = {
    "context": ("DictSaved", "TestContext"),
    "diagrams": ("Diagram", "check_diagram", "docstring_marbles"),
    "graphs": ("Recorded", "VirtualRun", "run_graph"),
    "graphtest": ("run_case",),
    "marbles": ("Event", "MarbleError", "format_marbles", "parse_marbles"),
    "receiver": ("Answer", "Received", "Receiver"),
    "section": ("cases_of",),
    "service": ("Behaviour", "Desk", "Service"),
    "virtual": ("MarbleSource", "VirtualTimeScheduler", "record", "run_marbles"),
}
"""Where the names are defined; a check of a graph's tests needs a few of these modules, and running them the others."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Behaviour",
    "Desk",
    "Diagram",
    "DictSaved",
    "Event",
    "MarbleError",
    "MarbleSource",
    "Received",
    "Receiver",
    "Recorded",
    "Service",
    "TestContext",
    "VirtualRun",
    "VirtualTimeScheduler",
    "cases_of",
    "check_diagram",
    "docstring_marbles",
    "format_marbles",
    "parse_marbles",
    "record",
    "run_case",
    "run_graph",
    "run_marbles",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module 'rxpipe.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(importlib.import_module(f"rxpipe.testing.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
