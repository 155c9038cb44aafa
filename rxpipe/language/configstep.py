"""One step of a graph file, as a `StepSpec` that knows the place of each of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from rxpipe.errors import ParameterError, Place
from rxpipe.graph import FROM, Places, StepSpec
from rxpipe.language.yamltext import Node
from rxpipe.operator import Operator
from rxpipe.registry import registry

ON_ERROR = "on_error"
"""The one key that a step may have beside its operator."""


class StepReader(msgspec.Struct):
    """Reads one step: a name, or a name with parameters; and beside it what is done with errors.

    Args:
        note: Takes each problem: message, place, stream and index.
        stream: The stream that the step is in.
        index: Its number there.
    """

    note: Callable[[str, Place, str, int], None]
    stream: str
    index: int

    def read(self, node: Node) -> StepSpec:
        """The step; of one that cannot be read, its place."""
        if node.kind == "scalar" and isinstance(node.value, str):
            return StepSpec(node.value, {}, Places({(): node.place}))
        if node.kind != "mapping" or not node.value:
            return self._refuse(
                f"a step is an operator's name, alone or with parameters; got {node.describe()}", node.place
            )
        node, on_error = self._without_key(node)
        if len(node.value) != 1:
            return self._not_one(node)
        key, value = node.value[0]
        if not isinstance(key.value, str):
            return self._refuse(f"an operator's name is a text; got {key.value!r}", key.place)
        spec = self._parameters(key, value)
        if on_error is None:
            return spec
        values, names = dict(spec.places.values), dict(spec.places.names)
        mark(on_error[1], (ON_ERROR,), values, names)
        names[(ON_ERROR,)] = on_error[0].place
        return msgspec.structs.replace(spec, places=Places(values, names), on_error=on_error[1].plain())

    def _without_key(self, node: Node) -> tuple[Node, tuple[Node, Node] | None]:
        """A step without its `on_error`, and that."""
        beside = next(((key, value) for key, value in node.value if key.value == ON_ERROR), None)
        rest = [(key, value) for key, value in node.value if key.value != ON_ERROR]
        return msgspec.structs.replace(node, value=rest), beside

    def _not_one(self, node: Node) -> StepSpec:
        if not node.value:
            return self._refuse(f"a step is an operator's name, with {ON_ERROR!r} beside it; got only that", node.place)
        names = ", ".join(repr(key.value) for key, _ in node.value)
        rest = node.value[1][0].place
        must = "a step is one operator; begin another step with '-', or indent parameters below the operator"
        return self._refuse(f"{must}; got {names}", rest)

    def _refuse(self, message: str, place: Place) -> StepSpec:
        self.note(message, place, self.stream, self.index)
        return StepSpec("?", {}, Places({(): place}))

    def _parameters(self, key: Node, value: Node) -> StepSpec:
        name: str = key.value
        values: dict[tuple[str | int, ...], Place] = {}
        names: dict[tuple[str | int, ...], Place] = {}
        mark(value, (), values, names)
        values[()] = key.place
        places = Places(values, names)
        if value.kind == "mapping":
            raw = value.plain()
            for inner, _ in value.value:
                if not isinstance(inner.value, str):
                    return self._refuse(f"a parameter's name is a text; got {inner.value!r}", inner.place)
            return StepSpec(name, raw, places)
        if value.kind == "scalar" and value.value is None:
            return StepSpec(name, {}, Places({(): key.place}))
        if name == FROM:
            raw = {"stream": value.plain()}
        else:
            operator = None
            with suppress(Exception):  # an operator that cannot be imported is reported by the check
                operator = registry.get(name)
            if operator is None:
                return StepSpec(name, {}, Places({(): key.place}))
            raw = self._bound(operator, value)
        if raw:
            mark(value, (next(iter(raw)),), values, names)
        return StepSpec(name, raw, places)

    def _bound(self, operator: Operator, value: Node) -> dict[str, Any]:
        """A value without a name, bound as Python binds a positional argument."""
        plain = value.plain()
        args = plain if operator.variadic_input is not None and isinstance(plain, list) else [plain]
        try:
            return operator.bind(args, {})
        except ParameterError as error:
            for problem in error.problems:
                self.note(f"{operator.name} {problem.message}", value.place, self.stream, self.index)
            return {}


def mark(
    node: Node,
    path: tuple[str | int, ...],
    values: dict[tuple[str | int, ...], Place],
    names: dict[tuple[str | int, ...], Place],
) -> None:
    """Note the places of a node and of all inside it."""
    values[path] = node.place
    if node.kind == "list":
        for index, item in enumerate(node.value):
            mark(item, (*path, index), values, names)
    elif node.kind == "mapping":
        for key, item in node.value:
            names[(*path, key.value)] = key.place
            mark(item, (*path, key.value), values, names)
