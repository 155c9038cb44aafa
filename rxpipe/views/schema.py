"""The JSON Schema of graph files, for editors: made of the operators' signatures and docstrings, as all else is.

An editor completes and checks a graph with it; `rxpipe check` says more: a schema knows nothing of the types between
steps, of streams' names, nor of what an expression may be.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticOmit

from rxpipe.faults.handling import ACTIONS, RETRY, SPEC
from rxpipe.graph import ERRORS, FROM, Param, Sample
from rxpipe.language.check import GRAPH_NAME, STREAM_NAME
from rxpipe.language.config import DECLARATION
from rxpipe.language.configstep import ON_ERROR
from rxpipe.language.values import DECLARING, TYPES
from rxpipe.operator import Operator
from rxpipe.registry import registry
from rxpipe.runtime.settings import Settings
from rxpipe.testing.section import KEYS
from rxpipe.views import reference

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Schema = {"$ref": "#/$defs/variable"}
_STEP: Schema = {"$ref": "#/$defs/step"}
_STREAM: Schema = {"type": "string", "description": "A stream, or STREAM.OUTPUT."}
_STREAMS: Schema = {"anyOf": [_STREAM, {"type": "array", "items": _STREAM}]}
_TEST: dict[str, Schema] = {
    "name": {"type": "string", "description": "What the test shows."},
    "set": {"type": "object", "description": "Values of the graph's parameters."},
    "where": {"type": "object", "description": "What the letters of the marbles stand for."},
    "given": {"type": "object", "description": "Marbles or records, by stream."},
    "files": {"type": "object", "description": "Files that are there before the run begins."},
    "changes": {"type": "array", "description": "What happens to files, at which tick."},
    "faults": {"type": "array", "description": "What goes wrong."},
    "expect": {"type": "object", "description": "Marbles, records or rows, by stream."},
}
"""What editors are told of the parts of a test; `rxpipe check` says what is wrong with them."""

_SAID = ("title", "description", "default", "examples")
"""What a schema says to people, and not of values."""


def graph_schema() -> Schema:
    """The schema of a graph file, with every operator that is registered now, and those of reactivex."""
    found = [registry.get(name) for name in [*registry.names(), *registry.reactive_names()]]
    operators = [operator for operator in found if operator is not None]
    definitions: Schema = {
        "variable": {
            "type": "string",
            "pattern": r"\$\{",
            "description": "${NAME} or ${NAME:-default}: a parameter of the graph, or the environment.",
        },
        "step": _step(operators),
        **_on_error(),
        "parameter": _parameter(),
    }
    for operator in operators:
        definitions |= _definitions(operator)
    return {
        "$schema": DIALECT,
        "title": "rxpipe graph",
        "description": "A dataflow graph: named streams of steps.",
        "type": "object",
        "required": ["graph", "streams"],
        "additionalProperties": False,
        "properties": _parts(),
        "$defs": definitions,
    }


def _parts() -> Schema:
    """The parts of a graph file."""
    texts: Schema = {"type": "array", "items": {"type": "string"}}
    name = STREAM_NAME.pattern
    return {
        "graph": {
            "type": "string",
            "pattern": f"^{GRAPH_NAME.pattern}$",
            "description": "The graph's name; it names the state file.",
        },
        "description": {"type": ["string", "null"], "description": "What the graph does, in a sentence."},
        "params": {
            "type": ["object", "null"],
            "description": "Parameters that ${NAME} stands for, and that --set NAME=value overrides.",
            "additionalProperties": {"$ref": "#/$defs/parameter"},
        },
        "settings": {**_settings(), "type": ["object", "null"], "description": "Settings of the run."},
        "plugins": {**texts, "type": ["array", "null"], "description": "Folders with further operators."},
        "sample": {
            "type": ["object", "null"],
            "description": _summary(Sample),
            "required": ["call", "sets"],
            "additionalProperties": False,
            "properties": {
                "call": {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "module:name of a function."},
                "sets": {"type": "string", "description": "The parameter of the graph that is pointed at the data."},
                "path": {"type": "string", "default": "."},
                "files": {"type": "string", "default": "*.jsonl", "description": "Which files are data."},
                "values": {"type": "object", "description": "Values of other parameters on sample data."},
            },
        },
        "allow": {
            "type": ["object", "null"],
            "description": "Warnings that are meant: by a lint's name streams, STREAM.OPERATOR or STREAM.OUTPUT.",
            "additionalProperties": _STREAMS,
        },
        "streams": {
            "type": "object",
            "description": "The streams by name, each a list of steps.",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{name}$", "not": {"const": ERRORS}},
            "additionalProperties": {"type": "array", "items": _STEP, "minItems": 1},
        },
        "tests": {
            "type": ["array", "null"],
            "description": "Tests of the graph: what is given at some streams, and what must come of it at others.",
            "items": {
                "type": "object",
                "properties": {key: _TEST.get(key, {}) for key in KEYS},
                "additionalProperties": False,
            },
        },
    }


def _parameter() -> Schema:
    """A declared parameter of a graph: its declaration, or its default alone."""
    said: Schema = {
        "type": {"enum": list(TYPES), "description": "The type of the value."},
        "default": {"description": "The value unless it is set."},
        "description": {"type": "string"},
        "required": {"type": "boolean", "default": False, "description": "Whether it must be set."},
        "choices": {"type": "array", "description": "The values that it may have."},
    }
    return {
        "description": _summary(Param),
        "if": {"type": "object", "anyOf": [{"required": [key]} for key in sorted(DECLARING)]},
        "then": {"properties": {key: said[key] for key in DECLARATION}, "additionalProperties": False},
    }


def _settings() -> Schema:
    return _model(TypeAdapter(Settings).json_schema(schema_generator=_Generator))


def _model(schema: Schema) -> Schema:
    """The schema of a model, with what its docstring says of its attributes."""
    said = reference.parse(schema.get("description", ""))
    attributes = reference.arguments_in(said.sections.get("Attributes", ""))
    made = _filled(schema)
    for name, part in made.get("properties", {}).items():
        if name in attributes:
            part["description"] = attributes[name]
    return {**made, "description": said.summary}


def _step(operators: list[Operator]) -> Schema:
    """A step: an operator's name, alone if nothing is required, or with its parameters."""
    alone = [operator.name for operator in operators if not _required(operator)]
    by_name: Schema = {operator.name: {"$ref": f"#/$defs/{operator.name}"} for operator in operators}
    read: Schema = {**_STREAM, "description": "Start the stream from another one, or from an output of its steps."}
    return {
        "description": "An operator's name, alone or with parameters.",
        "anyOf": [
            {"type": "string", "enum": alone},
            {
                "type": "object",
                "if": {"required": [ON_ERROR]},
                "then": {"minProperties": 2, "maxProperties": 2},
                "else": {"minProperties": 1, "maxProperties": 1},
                "additionalProperties": False,
                "properties": {FROM: read, **by_name, ON_ERROR: {"$ref": f"#/$defs/{ON_ERROR}"}},
            },
        ],
    }


def _on_error() -> Schema:
    """What may stand behind `on_error`, beside a step's operator."""
    retry = _definitions(SPEC)[SPEC.name]
    said = "What is done with what the step cannot handle: it goes to `errors` (dead_letter, unless told otherwise), is"
    said += " only counted (skip), ends the run (stop), or is tried again if that may help (retry)."
    named: Schema = {
        "type": "object",
        "required": [RETRY],
        "additionalProperties": False,
        "properties": {RETRY: {**retry, "title": RETRY}},
    }
    return {ON_ERROR: {"description": said, "anyOf": [{"enum": [*ACTIONS, RETRY]}, named, _VARIABLE]}}


def _definitions(operator: Operator) -> Schema:
    """What may stand behind an operator's name, and the definitions that this refers to."""
    template = f"#/$defs/{operator.name}.{{model}}"
    made = operator.model.model_json_schema(schema_generator=_Generator, ref_template=template)
    inner = {f"{operator.name}.{name}": _model(part) for name, part in made.pop("$defs", {}).items()}
    said = reference.parse(operator.doc)
    parameters: Schema = {}
    for name, parameter in operator.signature.parameters.items():
        if name in operator.inputs[:1] and name != operator.variadic_input:
            continue
        if name in operator.inputs:
            parameters[name] = {**(_STREAMS if name == operator.variadic_input else _STREAM)}
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        elif name in operator.nesting:
            parameters[name] = {"type": "array", "items": _STEP, "minItems": 1}
        else:
            parameters[name] = _place(made["properties"][name])
        parameters[name].pop("title", None)
        if text := said.arguments.get(name):
            parameters[name]["description"] = text
    named: Schema = {"type": "object", "properties": parameters, "additionalProperties": False}
    if isinstance(rest := made.get("additionalProperties"), dict):
        text = next((text for name, text in said.arguments.items() if name not in made["properties"]), "")
        named["additionalProperties"] = {**_place(rest), "description": text}
    required = _required(operator)
    if required:
        named["required"] = required
    forms = [named, *_positional(operator, parameters, required)]
    title = {"title": f"{operator.name}: {reference.edge(operator)}", "description": said.summary}
    return {operator.name: {**title, "anyOf": forms}, **inner}


def _required(operator: Operator) -> list[str]:
    """The parameters without which the operator cannot be, streams included."""
    return [
        name
        for name, parameter in operator.signature.parameters.items()
        if name not in operator.inputs[:1]
        and parameter.default is parameter.empty
        and parameter.kind not in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    ]


def _positional(operator: Operator, parameters: Mapping[str, Schema], required: list[str]) -> list[Schema]:
    """What may stand behind the operator's name without a parameter's: nothing, or its first parameter."""
    nothing: list[Schema] = [] if required else [{"type": "null"}]
    if operator.variadic_input is not None:
        return [*nothing, _STREAMS]
    first = next(
        (name for name in parameters if operator.signature.parameters[name].kind.name == "POSITIONAL_OR_KEYWORD"), None
    )
    if first is None or set(required) - {first}:
        return nothing
    form = {key: value for key, value in parameters[first].items() if key != "default"}
    return [*nothing, {**form, "not": {"type": ["object", "null"]}}]


def _filled(schema: Schema) -> Schema:
    """A schema whose inner values may be variables."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _place(part) for name, part in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _place(made[key])
    for key in ("anyOf", "oneOf"):
        if key in made:
            made[key] = [_filled(part) for part in made[key]]
    return made


def _place(schema: Schema) -> Schema:
    """A value that may be a variable instead; what is said of it stands in front."""
    made = _filled(schema)
    said = {key: made.pop(key) for key in _SAID if key in made}
    if not made or (made.get("type") == "string" and not {"enum", "const", "pattern"} & {*made}):
        return {**said, **made}
    forms = made["anyOf"] if [*made] == ["anyOf"] else [made]
    return {**said, "anyOf": [*forms, _VARIABLE]}


def _summary(kind: type) -> str:
    return reference.parse(inspect.getdoc(kind) or "").summary


class _Generator(GenerateJsonSchema):
    """Leaves out what has no form in a file, such as a function itself beside its name."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> NoReturn:
        """Leave it out."""
        raise PydanticOmit

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Say nothing: what is left out is meant to be."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Names say enough."""
        return False
