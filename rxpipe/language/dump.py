"""A graph as YAML text that people like to read; loading it gives an equal graph."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from rxpipe.errors import RxpipeError
from rxpipe.graph import FROM, Graph, Param, Sample, StepSpec
from rxpipe.language.configstep import ON_ERROR
from rxpipe.language.values import DECLARING, inferred
from rxpipe.language.yamltext import scalar
from rxpipe.registry import registry

WIDTH = 100
_TAG = "tag:yaml.org,2002:"
_UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""Characters that YAML takes for line ends or does not allow: only escapes keep them."""


def dump(graph: Graph) -> str:
    """The graph as YAML.

    Raises:
        RxpipeError: A step or a parameter exists only in Python.
    """
    parts: dict[str, Any] = {"graph": graph.name}
    if graph.description:
        parts["description"] = graph.description
    if graph.params:
        parts["params"] = {name: _param(param) for name, param in graph.params.items()}
    if graph.settings:
        parts["settings"] = graph.settings
    if graph.plugins:
        parts["plugins"] = graph.plugins
    if graph.sample is not None:
        parts["sample"] = {
            name: value
            for name, value in msgspec.structs.asdict(graph.sample).items()
            if name in {"call", "sets"} or value != getattr(Sample("", ""), name)
        }
    if graph.allow:
        parts["allow"] = {lint: of[0] if len(of) == 1 else of for lint, of in graph.allow.items()}
    parts["streams"] = {
        name: [_step(spec, f"{name}[{index}]") for index, spec in enumerate(steps)]
        for name, steps in graph.streams.items()
    }
    if graph.tests:
        parts["tests"] = graph.tests
    pairs = []
    for name, value in parts.items():
        pairs.append((_scalar(name), _streams(value) if name == "streams" else _node(value, name, len(name) + 2)))
    document = yaml.MappingNode(f"{_TAG}map", pairs, flow_style=False)
    return str(yaml.serialize(document, Dumper=_Dumper, width=1_000_000, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Indents the steps of a stream below its name."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Go one level deeper."""
        super().increase_indent(flow, indentless=False)


def _param(param: Param) -> Any:
    declared = isinstance(param.default, Mapping) and bool(set(param.default) & DECLARING)
    plain = not (param.description or param.required or param.choices or declared)
    if plain and param.type == inferred(param.default):
        return param.default
    parts: dict[str, Any] = {"type": param.type}
    if param.required:
        parts["required"] = True
    else:
        parts["default"] = param.default
    if param.choices:
        parts["choices"] = list(param.choices)
    return parts | ({"description": param.description} if param.description else {})


def _step(spec: StepSpec, where: str) -> Any:
    made = _operator(spec, where)
    if spec.on_error is None:
        return made
    return {**({made: None} if isinstance(made, str) else made), ON_ERROR: spec.on_error}


def _operator(spec: StepSpec, where: str) -> Any:
    if spec.function is not None:
        msg = f"{where}: {spec.operator} exists only in Python and has no YAML form; make it an @operator"
        raise RxpipeError(msg)
    parameters = dict(spec.parameters)
    if not parameters:
        return spec.operator
    if len(parameters) == 1:
        name, value = next(iter(parameters.items()))
        if spec.operator == FROM and name == "stream":
            return {FROM: value}
        operator = registry.get(spec.operator)
        if operator is not None and value is not None and not isinstance(value, Mapping):
            if name == operator.variadic_input and isinstance(value, list):
                return {spec.operator: value}
            if operator.variadic_input is None and not isinstance(value, list) and name == operator.unnamed:
                return {spec.operator: value}
    return {spec.operator: parameters}


def _streams(streams: Mapping[str, list[Any]]) -> yaml.Node:
    pairs = []
    for name, steps in streams.items():
        nodes = [_node(step, f"{name}[{index}]", 4, block=1) for index, step in enumerate(steps)]
        pairs.append((_scalar(name), yaml.SequenceNode(f"{_TAG}seq", nodes, flow_style=not nodes)))
    return yaml.MappingNode(f"{_TAG}map", pairs, flow_style=not pairs)


def _node(value: Any, where: str, indent: int, *, block: int = 0) -> yaml.Node:
    """A value as a node: on one line where it is short, and never deeper than `block` levels if that is given."""
    if isinstance(value, Mapping):
        flow = not block and indent + _width(value) <= WIDTH
        inner = max(block - 1, 0)
        pairs = [(_scalar(k, where), _node(v, where, indent + len(str(k)) + 2, block=inner)) for k, v in value.items()]
        return yaml.MappingNode(f"{_TAG}map", pairs, flow_style=flow or not pairs)
    if isinstance(value, list | tuple):
        flow = indent + _width(value) <= WIDTH
        return yaml.SequenceNode(
            f"{_TAG}seq", [_node(item, where, indent + 2) for item in value], flow_style=flow or not value
        )
    return _scalar(value, where)


def _width(value: Any) -> int:
    if isinstance(value, Mapping):
        return 2 + sum(len(str(key)) + 4 + _width(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 2 + sum(2 + _width(item) for item in value)
    return len(str(value)) + 1


def _scalar(value: Any, where: str = "") -> yaml.ScalarNode:
    if value is None:
        return yaml.ScalarNode(f"{_TAG}null", "null")
    if isinstance(value, bool):
        return yaml.ScalarNode(f"{_TAG}bool", "true" if value else "false")
    if isinstance(value, int):
        return yaml.ScalarNode(f"{_TAG}int", int.__repr__(value))
    if isinstance(value, float):
        return yaml.ScalarNode(f"{_TAG}float", _float(value))
    if isinstance(value, str):
        text = str.__str__(value)
        quoted = not isinstance(scalar(text), str) or text == "<<"
        style = "'" if quoted else "|" if "\n" in text else None
        return yaml.ScalarNode(f"{_TAG}str", text, style='"' if _UNSEEN.search(text) else style)
    msg = f"{where}: a {type(value).__name__} exists only in Python and has no YAML form"
    raise RxpipeError(msg)


def _float(value: float) -> str:
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if math.isnan(value):
        return ".nan"
    text = repr(float(value))
    if "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text
