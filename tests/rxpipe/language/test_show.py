"""Drawings of a graph."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
import reactivex as rx
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph, StepSpec, stream
from rxpipe.language.check import plan
from rxpipe.views.notebook import graph_bundle
from rxpipe.views.show import as_json, show

Read = Callable[..., Graph]


def test_tree(good: str, read: Read) -> None:
    assert show(plan(read(good))).split("\n") == [
        "good: Everything once",
        "",
        "rows",
        "├─ t_files   ${paths}                                        -> FileEvent",
        "├─ t_read                                                    -> LineDelta",
        "├─ t_parse   fields: {model: message.model, on: 1e3, x: on}  -> Batch",
        "├─ t_where   tokens > 3                                      -> Batch",
        "├─ t_derive  cost: tokens * 2                                -> Batch",
        "└─ read by totals, both",
        "",
        "totals",
        "├─ from      rows                                            -> Batch",
        "├─ t_table   [model]                                         -> Table",
        "├─ t_limit   ${rate}                                         -> Table",
        "└─ read by both",
        "",
        "both",
        "├─ t_merge   [rows, errors]                                  -> Batch",
        "└─ t_join    other: totals, wait: 3s                         -> Batch",
    ]


def test_tree_on_a_terminal(good: str, read: Read) -> None:
    made = plan(read(good))
    narrow = show(made, columns=60).split("\n")
    assert "├─ t_parse   fields: {model: message.model, o…  -> Batch" in narrow
    assert max(map(len, narrow)) == 60
    assert "├─ t_parse   fields: {model: mes…  -> Batch" in show(made, columns=10).split("\n")
    assert max(map(len, show(made, columns=200).split("\n"))) < 80, "no wider than what there is to show"


def test_mermaid_and_dot(good: str, read: Read) -> None:
    made = plan(read(good))
    text = show(made, "mermaid")
    assert text.startswith('flowchart LR\n  subgraph stream_errors["errors"]\n')
    assert '    rows_3["t_where<br/><small>tokens #gt; 3</small>"]\n' in text
    assert '  rows_4 -->|"Batch"| totals_1\n' in text
    assert '  totals_2 -->|"Table"| both_1' in text
    text = show(made, "dot")
    assert '  rows_0 -> rows_1 [label="FileEvent"];\n' in text
    assert '  subgraph "cluster_both" { label="both";\n' in text
    assert text.count("{") == text.count("}")


def test_svg_is_self_contained(good: str, read: Read) -> None:
    text = show(plan(read(good)), "svg")
    root = ET.fromstring(text)  # our own
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"rows", "t_where", "tokens > 3", "Batch", "FileEvent"} <= set(words)
    assert "script" not in text
    assert text.count("http") == 1  # the name space


def test_other_formats() -> None:
    with pytest.raises(RxpipeError, match=r"^a graph is drawn as 'text', 'mermaid', 'dot' or 'svg'; got 'png'$"):
        show(plan(Graph("g", {"s": [rx.of(1)]})), "png")  # type: ignore[arg-type]  # that is the point


def test_steps_of_python() -> None:
    graph = Graph("g", {"a": [rx.of(1), rxo.map(str)], "b": [stream("a")]})
    made = plan(graph)
    assert [step.emits for step in made.streams["a"].steps] == [object, object] or "Any" in show(made)
    for form in ("mermaid", "dot", "svg"):
        assert show(made, form)


def test_notebook(good: str, read: Read) -> None:
    bundle = graph_bundle(read(good))
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    assert bundle["image/svg+xml"] in bundle["text/html"]
    assert bundle["image/svg+xml"].startswith("<svg ")
    broken = Graph("g", {"s": [StepSpec("t_red")]})
    assert "unknown operator 't_red', did you mean 't_read'?" in broken._repr_mimebundle_()["text/plain"]


def doubled(element: object) -> object:
    return element


class Counting:
    def __call__(self, element: object) -> None:
        """Takes whatever comes."""


def test_functions_are_shown_by_name() -> None:
    graph = Graph("g", {"a": [rx.of(1), ops.to_callback(doubled)], "b": [stream("a"), ops.to_callback(Counting())]})
    made = plan(graph)
    texts = [as_json(made), *(show(made, form) for form in ("text", "mermaid", "dot", "svg"))]
    for text in texts:
        assert "doubled" in text
        assert "Counting" in text
        assert " at 0x" not in text


def test_svg_tells_what_is_guaranteed() -> None:
    graph = Graph("g", {"a": [ops.watch(["x"]), ops.read_lines(), ops.to_callback(doubled)]})
    root = ET.fromstring(show(plan(graph), "svg"))  # our own
    name = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in root.iter(f"{name}text")]
    assert words[words.index("to_callback") :][:3] == ["to_callback", "doubled", "at least once"]
    tops = [float(element.get("y", "")) for element in root.iter(f"{name}text") if element.text in words[-3:]]
    box = next(element for element in root.iter(f"{name}rect") if element.get("fill") == "#fdf1e2")
    assert max(tops) < float(box.get("y", "")) + float(box.get("height", ""))


def test_what_steers_a_terminal_is_shown_written_out(read: Read) -> None:
    text = 'graph: g\ndescription: "a\\e[31m"\nstreams:\n  s: [{t_files: {paths: ["\\e]0;x\\a\\u0085"]}}]\n'
    made = plan(read(text))
    for form in ("text", "mermaid", "dot", "svg"):
        shown = show(made, form)
        assert shown.replace("\n", "").isprintable()
        assert "\\x1b]0;x\\x07" in shown or form == "dot"
        assert form != "svg" or ET.fromstring(shown) is not None
