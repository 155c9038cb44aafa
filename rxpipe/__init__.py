"""Reactive dataflow graphs over things that keep changing: declared in YAML, composed in Python, explored in notebooks.

```python
import rxpipe

graph = rxpipe.load("graph.yaml")
with graph.run() as run:
    print(run.status())
```
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxpipe.elements import Batch, ErrorRecord, FileEvent, FileState, LineDelta, OriginGone
    from rxpipe.errors import GraphError, ParameterError, RunError, RxpipeError, StateError
    from rxpipe.expressions.known import KnownFields
    from rxpipe.faults.handling import on_error, retry
    from rxpipe.faults.letters import Selection
    from rxpipe.graph import Graph, Param, Sample, stream
    from rxpipe.language.check import problems
    from rxpipe.language.config import load, load_text
    from rxpipe.language.datafiles import DataFile, DataFiles
    from rxpipe.language.dump import dump
    from rxpipe.operator import Outputs, fields_of, operator
    from rxpipe.outputs import with_outputs
    from rxpipe.parameters.calls import Function
    from rxpipe.parameters.types import AggregationExpr, Expr, Secret
    from rxpipe.parameters.units import Allowance, Duration, Money, Rate, Size
    from rxpipe.runtime.savepoint import savepoint
    from rxpipe.table import Table

__version__ = "0.1.0"

_HOMES = {
    "language.check": ("problems",),
    "parameters.calls": ("Function",),
    "language.datafiles": ("DataFile", "DataFiles"),
    "language.config": ("load", "load_text"),
    "language.dump": ("dump",),
    "elements": ("Batch", "ErrorRecord", "FileEvent", "FileState", "LineDelta", "OriginGone"),
    "errors": ("GraphError", "ParameterError", "RunError", "RxpipeError", "StateError"),
    "graph": ("Graph", "Param", "Sample", "stream"),
    "faults.handling": ("on_error", "retry"),
    "expressions.known": ("KnownFields",),
    "faults.letters": ("Selection",),
    "operator": ("Outputs", "fields_of", "operator"),
    "outputs": ("with_outputs",),
    "parameters.types": ("AggregationExpr", "Expr", "Secret"),
    "runtime.savepoint": ("savepoint",),
    "table": ("Table",),
    "parameters.units": ("Allowance", "Duration", "Money", "Rate", "Size"),
}
"""Where the public names are defined; each module is imported when one of its names is first asked for."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AggregationExpr",
    "Allowance",
    "Batch",
    "DataFile",
    "DataFiles",
    "Duration",
    "ErrorRecord",
    "Expr",
    "FileEvent",
    "FileState",
    "Function",
    "Graph",
    "GraphError",
    "KnownFields",
    "LineDelta",
    "Money",
    "OriginGone",
    "Outputs",
    "Param",
    "ParameterError",
    "Rate",
    "RunError",
    "RxpipeError",
    "Sample",
    "Secret",
    "Selection",
    "Size",
    "StateError",
    "Table",
    "dump",
    "fields_of",
    "load",
    "load_text",
    "on_error",
    "operator",
    "problems",
    "retry",
    "savepoint",
    "stream",
    "with_outputs",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module 'rxpipe' has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(importlib.import_module(f"rxpipe.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `rxpipe.operator` the decorator: importing the module of that name would otherwise put itself there."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
