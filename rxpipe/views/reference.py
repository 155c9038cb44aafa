"""The operator reference, made from signatures and docstrings: there is no second description of an operator.

`rxpipe operators` prints it, `rxpipe.views.pages` writes it into the project.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from dataclasses import dataclass, field
from typing import Any

from rxpipe.errors import RxpipeError, shortened
from rxpipe.language.edges import type_name
from rxpipe.language.guesses import unknown_operator
from rxpipe.operator import Operator, marked
from rxpipe.registry import registry
from rxpipe.views.filled import filled

_HEADING = re.compile(r"^([A-Z][A-Za-z -]*):(?:\s+(.*))?$")
_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_SECTIONS = (
    "Args",
    "Outputs",
    "Example",
    "Examples",
    "Raises",
    "Errors",
    "State",
    "Delivery",
    "Guarantee",
    "Returns",
    "Note",
    "Attributes",
)
_ARGUMENT = re.compile(r"^(\*{0,2}\w+):\s*(.*)$")

_PLAINER: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"Literal\[([^]]*)\]"), lambda match: re.sub(r"['\"]", "", match[1]).replace(", ", " | ")),
    (re.compile(r"Annotated\[(\w+), Ge\(([\d.]+)\)\]"), r"\1 >= \2"),
    (re.compile(r"Annotated\[(\w+), Gt\(([\d.]+)\)\]"), r"\1 > \2"),
    (re.compile(r"Annotated\[(.+), Outputs\(\w+\)\]"), r"\1"),
    (re.compile(r"Callable\[\[.*?\], \w+\]"), "function"),
    (re.compile(r"\bFunction\[\w+\]"), "str | function"),
    (re.compile(r"\bDataFiles\b"), "str | list[str]"),
)
"""How annotations are said to people."""


@dataclass
class Documentation:
    """An operator's docstring in its parts: `body` is free text, `sections` the rest by heading."""

    summary: str = ""
    body: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)


def find(name: str) -> Operator:
    """The operator of this name.

    Raises:
        RxpipeError: There is none; the nearest name is suggested.
    """
    found = registry.get(name)
    if found is None:
        raise RxpipeError(unknown_operator(name))
    return found


def parse(doc: str) -> Documentation:
    """Take a docstring apart."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(doc).split("\n"):
        heading = _HEADING.match(line)
        if heading and heading[1] in _SECTIONS:
            current = heading[1]
            parts[current] = [heading[2]] if heading[2] else []
            continue
        if current == "Args" and line and not line.startswith(" "):  # what explains the parameters further
            current = ""
            parts[current].append("")
        if line or parts[current]:
            parts[current].append(line)
    text = "\n".join(parts.pop("")).strip()
    summary, _, body = text.partition("\n\n")
    found = arguments_in(inspect.cleandoc("\n" + "\n".join(parts.pop("Args", []))))
    sections = {name: _dedented(lines) for name, lines in parts.items()}
    return Documentation(summary.replace("\n", " "), body.strip("\n"), found, sections)


def listing(columns: int | None = None) -> str:
    """All operators by family, one line each, which ends where a terminal does."""
    families = by_family()
    width = max((len(operator.name) for operators in families.values() for operator in operators), default=0)
    lines = []
    for name, operators in families.items():
        lines += [name, *(_first_line(operator, width, columns) for operator in operators), ""]
    lines += [f"could not be loaded: {where}: {reason}" for where, reason in registry.failures().items()]
    return "\n".join(lines).rstrip("\n")


def reactive_listing(columns: int | None = None) -> str:
    """The operators of reactivex that a graph can name, one line each, and why it cannot name the others."""
    offered = [found for name in registry.reactive_names() if (found := registry.get(name)) is not None]
    refused = registry.reactive_refusals()
    width = max(map(len, [*(operator.name for operator in offered), *refused]))
    lines = ["rx", *(_first_line(operator, width, columns) for operator in offered)]
    return "\n".join([*lines, "", "not in a graph", *(f"  {name:{width}}  {why}" for name, why in refused.items())])


def listing_markdown() -> str:
    """The reference of all built-in operators in Markdown."""
    lines = ["# Operators", ""]
    families = {
        name: built_in
        for name, operators in by_family().items()
        if (built_in := [operator for operator in operators if operator.module.startswith("rxpipe.operators.")])
    }
    for name, operators in families.items():
        lines += [f"- **{name}**: " + ", ".join(f"[`{o.name}`](#{o.name.lower()})" for o in operators)]
    for operators in families.values():
        for operator in operators:
            lines += ["", markdown(operator)]
    return "\n".join(lines)


def by_family() -> dict[str, list[Operator]]:
    """All operators that can be loaded, by family; the families in the order data takes through them."""
    order = ("files", "time", "batching", "records", "aggregate", "flow", "sinks")
    families: dict[str, list[Operator]] = {name: [] for name in order}
    for operator in registry.all():
        families.setdefault(family(operator), []).append(operator)
    return {name: operators for name, operators in families.items() if operators}


def family(operator: Operator) -> str:
    """The operator's family; those of plugin folders are one."""
    return "plugins" if operator.module.startswith("rxpipe_plugins.") else operator.family


def edge(operator: Operator) -> str:
    """What goes in and out: `LineDelta -> Batch`."""
    variable = isinstance(operator.emits, typing.TypeVar)
    emits = "the same" if variable and not operator.is_source else type_name(operator.emits)
    mark = marked(operator.hints["return"])
    emits += "".join(f", {name}: {type_name(kind)}" for name, kind in (mark.named if mark else {}).items())
    emits += "".join(f", and an output for each of {name}" for name in operator.naming)
    if operator.is_source:
        return f"source of {emits}"
    takes = [type_name(operator.accepts(name)) for name in operator.inputs]
    named = [takes[0], *(f"{name}: {kind}" for name, kind in zip(operator.inputs[1:], takes[1:], strict=True))]
    return f"{', '.join(named)} -> {emits}"


def signature(operator: Operator) -> str:
    """How the operator is called from Python."""
    parts = []
    for name, parameter in operator.signature.parameters.items():
        if name in operator.inputs[:1]:
            continue
        star = _STARS.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        parts.append(f"{star}{name}: {annotation(operator, name)}{default}")
    return f"{operator.name}({', '.join(parts)})"


def annotation(operator: Operator, name: str) -> str:
    """A parameter's annotation as its author wrote it."""
    written = operator.signature.parameters[name].annotation
    if isinstance(written, str):
        return written
    from rxpipe.parameters import types, units  # only for operators whose annotations are not text

    for module in (units, types):
        for alias in ("Allowance", "Duration", "Money", "Rate", "Size", "Expr", "AggregationExpr", "Secret"):
            if getattr(module, alias, None) == written:
                return alias
    if typing.get_origin(written) is None:
        return getattr(written, "__name__", str(written))
    return type_name(written)


def kind(operator: Operator, name: str) -> str:
    """A parameter's type for people: the values of a choice, limits in words, null where it is the default unsaid."""
    parameter = operator.signature.parameters[name]
    text = annotation(operator, name)
    known = vars(sys.modules[operator.module]) if operator.module in sys.modules else {}
    for word in set(re.findall(r"\b[A-Z]\w*\b", text)):
        if typing.get_origin(known.get(word)) is typing.Literal:
            choices = ", ".join(map(repr, typing.get_args(known[word])))
            text = re.sub(rf"\b{word}\b", f"Literal[{choices}]", text)
    for pattern, plain in _PLAINER:
        text = pattern.sub(plain, text)
    return text.removesuffix(" | None") if parameter.default is None else text


def text(operator: Operator, columns: int | None = None) -> str:
    """One operator's reference for a terminal, filled to its width if that is given."""
    documentation = parse(operator.doc)
    lines = [f"{operator.name} ({family(operator)}): {edge(operator)}", "", *filled(documentation.summary, columns)]
    if documentation.body:
        lines += ["", *filled(documentation.body, columns)]
    if len(operator.signature.parameters) > len(operator.inputs[:1]):
        lines += ["", "Parameters:"]
    for name, kind, default, description in parameters(operator, documentation):
        lines.append(f"    {name}: {kind}{f' = {default}' if default else ''}")
        lines += filled(description, columns, 8) if description else []
    for heading, section in documentation.sections.items():
        lines += ["", f"{heading}:", *filled(section, columns)]
    lines += ["", f"Defined at {operator.where}"]
    return "\n".join(lines)


def markdown(operator: Operator) -> str:
    """One operator's reference in Markdown."""
    documentation = parse(operator.doc)
    lines = [f"## {operator.name}", "", f"`{edge(operator)}`", "", documentation.summary, ""]
    if documentation.body:
        lines += [_with_fences(documentation.body), ""]
    rows = parameters(operator, documentation)
    if rows:
        lines += ["| parameter | type | default | |", "|---|---|---|---|"]
        for name, kind, default, description in rows:
            cells = (
                f"`{name}`",
                f"`{kind}`",
                "required" if default is None else default and f"`{default}`",
                description,
            )
            lines.append("| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    for heading, section in documentation.sections.items():
        body = f"```python\n{section}\n```" if ">>>" in section else section
        lines += [f"**{heading}**" + ("\n\n" if body.startswith("```") else ": ") + body, ""]
    return "\n".join(lines).rstrip("\n")


def parameters(operator: Operator, documentation: Documentation) -> list[tuple[str, str, str | None, str]]:
    """Name, type, default (None: required) and description of each parameter, further streams included."""
    rows = []
    for name, parameter in operator.signature.parameters.items():
        if name in operator.inputs[:1]:
            continue
        written = kind(operator, name)
        if name in operator.inputs:
            written = (
                f"streams of {type_name(operator.accepts(name))}"
                if name == operator.variadic_input
                else (f"stream of {type_name(operator.accepts(name))}")
            )
        star = _STARS.get(parameter.kind, "")
        default = "" if star else None if parameter.default is parameter.empty else _default(parameter.default)
        description = documentation.arguments.get(name) or documentation.arguments.get(star + name, "")
        rows.append((star + name, written, default, description))
    return rows


def arguments_in(block: str) -> dict[str, str]:
    """The entries of an `Args:` or `Attributes:` section, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in block.split("\n"):
        match = _ARGUMENT.match(line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _dedented(lines: list[str]) -> str:
    if lines and not lines[0].startswith(" "):  # text beside the heading, continued below it
        return " ".join(line.strip() for line in lines if line.strip())
    return inspect.cleandoc("\n" + "\n".join(lines)).strip("\n")


def _with_fences(body: str) -> str:
    """The body with its indented blocks, which are marble diagrams, in fences."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", body):
        if all(line.startswith("    ") for line in paragraph.split("\n")):
            parts.append(f"```text\n{inspect.cleandoc(chr(10) + paragraph)}\n```")
        else:
            parts.append(paragraph)
    return "\n\n".join(parts)


def _default(value: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, repr(value)) if _hashable(value) else repr(value)


def _hashable(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _first_line(operator: Operator, width: int, columns: int | None) -> str:
    line = f"  {operator.name:{width}}  {operator.summary}"
    return line if columns is None else shortened(line, columns)
