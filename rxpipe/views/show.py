"""A graph as text, JSON, Mermaid, DOT or SVG: element types on its edges, what is guaranteed at its sinks.

Parameters are shown as written, secrets hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

from rxpipe.errors import RxpipeError, escaped
from rxpipe.graph import ERRORS, StepSpec, as_spec
from rxpipe.language.configstep import ON_ERROR
from rxpipe.language.edges import type_name
from rxpipe.language.paths import Path, paths
from rxpipe.language.plan import Plan, PlannedStep, PlannedStream, by_type, reads_of
from rxpipe.operator import steps_in
from rxpipe.views.detail import LEAST, WIDTH, detail

Format = Literal["text", "mermaid", "dot", "svg"]


@dataclass(frozen=True)
class Box:
    """One step to draw."""

    stream: str
    index: int
    name: str
    detail: str
    guarantee: str
    """What is guaranteed of what comes to a sink, each guarantee once."""
    kind: Literal["source", "step", "sink", "errors"]

    @property
    def id(self) -> str:
        """A name for the box that any format takes."""
        return f"{self.stream.replace('-', '__')}_{self.index}"


@dataclass(frozen=True)
class Arrow:
    """What flows from one box to another."""

    start: Box
    end: Box
    label: str


@dataclass(frozen=True)
class Drawing:
    """What there is to draw: boxes by stream, and arrows."""

    title: str
    groups: dict[str, list[Box]]
    arrows: list[Arrow]


def show(plan: Plan, form: Format = "text", columns: int | None = None) -> str:
    """Draw a plan.

    Args:
        plan: The checked graph.
        form: `text` (a tree), `mermaid`, `dot` or `svg`.
        columns: How wide the terminal is that the tree is for; None where it is for none.

    Raises:
        RxpipeError: There is no such form.
    """
    if form == "text":
        return tree(plan, columns)
    if form == "mermaid":
        return mermaid(drawing(plan))
    if form == "dot":
        return dot(drawing(plan))
    if form == "svg":
        from rxpipe.views.draw import svg  # only for this form

        return svg(drawing(plan))
    msg = f"a graph is drawn as 'text', 'mermaid', 'dot' or 'svg'; got {form!r}"
    raise RxpipeError(msg)


def tree(plan: Plan, columns: int | None = None) -> str:
    """The streams with their steps, what each emits, and who reads the stream; parameters take the room there is."""
    graph = plan.graph
    steps = [
        (spec.operator, type_name(step.emits))
        for stream in plan.streams.values()
        for spec, step in zip(graph.streams[stream.name], stream.steps, strict=True)
    ]
    taken = (
        len("├─ ")
        + len("  ")
        + len("  -> ")
        + sum(max(map(len, texts), default=0) for texts in zip(*steps, strict=True))
    )
    width = WIDTH if columns is None else max(LEAST, columns - taken)
    lines = [graph.name + (f": {escaped(graph.description)}" if graph.description else "")]
    rows = [
        (spec.operator, detail(spec, step, width))
        for stream in plan.streams.values()
        for spec, step in zip(graph.streams[stream.name], stream.steps, strict=True)
    ]
    names = max((len(name) for name, _ in rows), default=0)
    details = max((len(detail) for _, detail in rows), default=0)
    for stream in plan.streams.values():
        lines += ["", stream.name]
        last = len(stream.steps) - 1
        for index, step in enumerate(stream.steps):
            spec = graph.streams[stream.name][index]
            corner = "└─" if index == last and not (stream.readers or stream.output_readers) else "├─"
            shown = detail(spec, step, width)
            lines.append(f"{corner} {spec.operator:{names}}  {shown:{details}}  -> {type_name(step.emits)}".rstrip())
            bar = "  " if corner == "└─" else "│ "
            lines += [f"{bar}   {inner.operator}  {detail(inner, None, width)}".rstrip() for inner in _inner(step)]
        read = {"": stream.readers} if stream.readers else {}
        read |= {f".{output} ": readers for output, readers in stream.output_readers.items()}
        for output, readers in read.items():
            corner = "└─" if output == [*read][-1] else "├─"
            lines.append(f"{corner} {output}read by {', '.join(readers)}")
    return "\n".join([*lines, *_guarantees(paths(plan))])


def _guarantees(found: list[Path]) -> list[str]:
    """The guarantee of each path from a source to a sink, and the step that weakens it."""
    ways = [f"{path.source} -> {path.sink}" for path in found]
    width, wide = max(map(len, ways), default=0), max((len(path.guarantee) for path in found), default=0)
    rows = [
        f"{way:{width}}  {path.guarantee:{wide}}  {path.reason}".rstrip() for way, path in zip(ways, found, strict=True)
    ]
    corners = ["├─"] * (len(rows) - 1) + ["└─"]
    return ["", "guarantees", *(f"{corner} {row}" for corner, row in zip(corners, rows, strict=True))] if rows else []


def as_json(plan: Plan) -> str:
    """The streams with their steps, and the guarantee of each path, for scripts."""
    streams = {
        stream.name: {
            "steps": [
                {
                    "operator": spec.operator,
                    "parameters": dict(spec.parameters),
                    **({} if spec.on_error is None else {ON_ERROR: spec.on_error}),
                    "emits": type_name(step.emits),
                    **({"outputs": {o: type_name(kind) for o, kind in step.outputs.items()}} if step.outputs else {}),
                }
                for spec, step in zip(plan.graph.streams[stream.name], stream.steps, strict=True)
            ],
            "readers": stream.readers,
        }
        for stream in plan.streams.values()
    }
    made = {
        "graph": plan.graph.name,
        "streams": streams,
        "paths": [
            {
                "source": path.source,
                "sink": path.sink,
                "guarantee": path.guarantee,
                "weakened": [{"step": weak.step, "why": weak.why} for weak in path.weakened],
            }
            for path in paths(plan)
        ],
    }
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=by_type).decode()


def drawing(plan: Plan) -> Drawing:
    """What to draw of a plan: a `from` step is an arrow, all others are boxes."""
    groups: dict[str, list[Box]] = {}
    guarantees: dict[str, dict[str, None]] = {}
    for path in paths(plan):
        guarantees.setdefault(path.sink, {})[path.guarantee] = None
    if any(ERRORS in reads_of(step) for stream in plan.streams.values() for step in stream.steps):
        groups[ERRORS] = [Box(ERRORS, 0, ERRORS, "what could not be handled", "", "errors")]
    arrows: list[Arrow] = []
    ends: dict[str, tuple[Box, str]] = {ERRORS: (groups[ERRORS][0], "Batch")} if groups else {}
    for stream in plan.streams.values():
        boxes, found = _stream_boxes(plan, stream, ends, guarantees)
        groups[stream.name] = boxes
        arrows += found
        ends[stream.name] = (boxes[-1], type_name(stream.steps[-1].emits))
        for index, step in enumerate(stream.steps):
            box = next((box for box in boxes if box.index == index), boxes[0])
            ends |= {f"{stream.name}.{o}": (box, f"{o}: {type_name(kind)}") for o, kind in step.outputs.items()}
    return Drawing(plan.graph.name, groups, arrows)


def _stream_boxes(
    plan: Plan, stream: PlannedStream, ends: dict[str, tuple[Box, str]], guarantees: dict[str, dict[str, None]]
) -> tuple[list[Box], list[Arrow]]:
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    waiting: list[tuple[Box, str]] = []
    for index, step in enumerate(stream.steps):
        spec = plan.graph.streams[stream.name][index]
        if step.reads is not None and len(stream.steps) > 1:
            waiting.append(ends[step.reads])
            continue
        guarantee = ", ".join(guarantees.get(step.name, ()))
        box = Box(stream.name, index, spec.operator, detail(spec, step), guarantee, _kind(step, index))
        if index and boxes:
            arrows.append(Arrow(boxes[-1], box, type_name(step.accepts)))
        arrows += [Arrow(start, box, label) for start, label in waiting]
        waiting = []
        for name in reads_of(step):
            start, label = ends[name]
            arrows.append(Arrow(start, box, label))
        boxes.append(box)
    return boxes, arrows


def mermaid(drawn: Drawing) -> str:
    """A Mermaid flowchart: a subgraph for each stream."""
    lines = ["flowchart LR"]
    for name, boxes in drawn.groups.items():
        lines.append(f'  subgraph stream_{name.replace("-", "__")}["{_mermaid(name)}"]')
        lines.append("    direction TB")
        for box in boxes:
            detail = f"<br/><small>{_mermaid(box.detail)}</small>" if box.detail else ""
            detail += f"<br/><i>{_mermaid(box.guarantee)}</i>" if box.guarantee else ""
            left, right = ("([", "])") if box.kind == "source" else ("[[", "]]") if box.kind == "sink" else ("[", "]")
            lines.append(f'    {box.id}{left}"{_mermaid(box.name)}{detail}"{right}')
        lines.append("  end")
    lines += [f'  {arrow.start.id} -->|"{_mermaid(arrow.label)}"| {arrow.end.id}' for arrow in drawn.arrows]
    return "\n".join(lines)


def dot(drawn: Drawing) -> str:
    """A Graphviz digraph: a cluster for each stream."""
    lines = [
        f"digraph {_dot(drawn.title)} {{",
        '  rankdir="TB"; node [shape="box", style="rounded", fontname="sans-serif"];',
    ]
    lines.append('  edge [fontname="sans-serif", fontsize="10"];')
    for name, boxes in drawn.groups.items():
        lines.append(f"  subgraph {_dot(f'cluster_{name}')} {{ label={_dot(name)};")
        for box in boxes:
            label = "\n".join(part for part in (box.name, box.detail, box.guarantee) if part)
            lines.append(f"    {box.id} [label={_dot(label)}];")
        lines.append("  }")
    lines += [f"  {arrow.start.id} -> {arrow.end.id} [label={_dot(arrow.label)}];" for arrow in drawn.arrows]
    return "\n".join([*lines, "}"])


def _inner(step: PlannedStep) -> list[StepSpec]:
    """The steps inside a step."""
    return [as_spec(inner) for value in step.parameters.values() for inner in steps_in(value)]


def _kind(step: PlannedStep, index: int) -> Literal["source", "step", "sink"]:
    if step.operator is None:
        return "source" if index == 0 and step.reads is None else "step"
    if step.operator.is_source:
        return "source"
    return "sink" if step.operator.family == "sinks" else "step"


def _mermaid(text: str) -> str:
    for character, entity in (
        ("#", "#35;"),
        ("&", "#amp;"),
        ('"', "#quot;"),
        ("<", "#lt;"),
        (">", "#gt;"),
        ("|", "#124;"),
    ):
        text = text.replace(character, entity)
    return text


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
