"""What tables and runs look like in a notebook, and the pictures of graphs in it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import msgspec
import reactivex as rx

import rxpipe
from rxpipe import Batch, Graph, Table, stream
from rxpipe import operators as ops
from rxpipe.views.notebook import ROWS, graph_bundle, table_html


def cells(html: str) -> list[list[str]]:
    """The texts of a table by rows; the HTML must be well-formed."""
    ET.fromstring(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_numbers_stand_below_each_other() -> None:
    rows = [{"name": "a", "n": 1234567, "cost": 1.5, "b": True}, {"name": "b", "n": 8, "cost": 12.123456, "b": None}]
    html = table_html("costs", rows)
    assert cells(html) == [["name", "n", "cost", "b"], ["a", "1,234,567", "1.5000", "True"], ["b", "8", "12.1235", ""]]
    assert html.count('<td class="number">') == 4
    assert "costs" in html
    assert "2 rows" in html


def test_whole_fractions_and_large_numbers() -> None:
    assert cells(table_html("t", [{"a": 2.0, "b": 2**70}, {"a": float("inf"), "b": None}]))[1:] == [
        ["2", f"{2**70:,}"],
        ["inf", ""],
    ]


def test_text_is_escaped_and_cut() -> None:
    html = table_html("<t>", [{"<b>": "<script>alert(1)</script>", "long": "x" * 500, "list": [1, "<"]}])
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;t&gt;" in html
    assert cells(html)[1][1] == "x" * 99 + "…"


def test_columns_of_some_rows_and_no_rows() -> None:
    assert cells(table_html("t", [{"a": 1}, {"b": "x"}])) == [["a", "b"], ["1", ""], ["", "x"]]
    assert "0 rows" in table_html("t", [])
    assert "1 row<" in table_html("t", [{"a": 1}])


def test_long_tables_tell_how_much_there_is() -> None:
    html = table_html("t", [{"a": n} for n in range(ROWS + 10)])
    assert f"{ROWS + 10} rows, the first {ROWS} are shown" in html
    assert len(cells(html)) == ROWS + 1


def test_table() -> None:
    table = Table("t", ("a",), lambda: [{"a": 1}], lambda: 0)
    assert cells(table._repr_html_()) == [["a"], ["1"]]


def test_status() -> None:
    graph = Graph(
        "g", {"rows": [rx.of(Batch([{"n": 1}, {"n": "x"}]))], "sum": [stream("rows"), ops.aggregate(n="sum(n)")]}
    )
    with graph.run() as run:
        run.wait()
    status = run.status()
    html = status._repr_html_()
    assert "<b>g</b>: done" in html
    assert '<span class="bad">1 error</span>' in html
    assert "last errors" in html
    assert "steps, by their time" in html
    assert cells(html)[0] == ["stream", "records", "lag (bytes)", "errors"]
    assert repr(status) == "<RunStatus of 'g': done, 2 records, 1 error>"
    assert re.search(r"^g: done, 1 error\n  rows +2 records\n  sum +2 records  1 error$", str(status))


def test_status_of_a_sick_run() -> None:
    with Graph("g", {"s": [rx.of(1)]}).run() as run:
        run.wait()
    status = run.status()
    status = msgspec.structs.replace(status, degraded="the disk is <full>")
    assert "the disk is &lt;full&gt;" in status._repr_html_()
    assert "; the disk is <full>" in str(status)


def test_picture_scrolls_and_names_an_edge_once() -> None:
    graph = Graph(
        "g", {"a": [ops.interval("1s")], "b": [ops.interval("1s")], "all": [stream("a"), ops.merge(stream("b"))]}
    )
    bundle = graph_bundle(graph)
    assert bundle["text/html"].startswith('<div style="overflow-x: auto')
    assert bundle["image/svg+xml"].count('"#4c5870">int</text>') == 1


def test_problems_take_the_place_of_the_picture() -> None:
    broken = Graph("g", {"s": [stream("gone")]})
    assert set(graph_bundle(broken)) == {"text/plain"}
    assert "unknown stream 'gone'" in rxpipe.Graph._repr_mimebundle_(broken)["text/plain"]
