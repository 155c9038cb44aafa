"""Graphs as data: how steps are written down, and graphs made of others."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex as rx

from rxpipe import Batch, Graph, RxpipeError, stream
from rxpipe import operators as ops
from rxpipe.graph import StepSpec

ROWS = [{"k": "a", "n": 1}, {"k": "b", "n": 5}, {"k": "c", "n": 3}]


def counts() -> Graph:
    return Graph(
        "counts",
        {
            "rows": [rx.of(Batch(ROWS))],
            "sums": [stream("rows"), ops.aggregate(by=["k"], n="sum(n)")],
        },
        description="sums",
    )


def test_replaced() -> None:
    graph = counts()
    before = list(graph.streams["sums"])
    fewer = graph.replaced("sums", [*graph.streams["sums"], ops.top(1, by="n")])
    assert graph.streams["sums"] == before
    assert graph == counts() or graph.streams["sums"] == counts().streams["sums"]
    assert fewer.streams["sums"] == [*before, StepSpec("top", {"count": 1, "by": "n"})]
    assert fewer.streams["rows"] is graph.streams["rows"]
    assert (fewer.name, fewer.description) == ("counts", "sums")
    assert list(fewer.streams) == list(graph.streams)
    with fewer.run() as run:
        run.wait()
        assert run.rows("sums") == [{"k": "b", "n": 5}]


def test_replaced_refuses() -> None:
    with pytest.raises(
        RxpipeError, match=r"^replaced: must name a stream of the graph; got 'sum', did you mean 'sums'\?$"
    ):
        counts().replaced("sum", [])
    with pytest.raises(RxpipeError, match="a step must be an operator"):
        counts().replaced("sums", [3])


def test_parameters_are_written_in_their_order() -> None:
    graph = Graph("g", {"s": [ops.watch(["logs"], patterns=["*.jsonl"])]})
    assert list(graph.streams["s"][0].parameters) == ["paths", "patterns"]
    assert "watch: {paths: [logs], patterns: ['*.jsonl']}" in graph.to_yaml()


@pytest.mark.parametrize("steps", [ops.interval("1s"), ops.take(1), "interval", {"interval": "1s"}])
def test_a_step_is_no_stream(steps: Any) -> None:
    with pytest.raises(RxpipeError, match=r"^stream 'a' must be a list of steps; got .*, which belongs into one: \["):
        Graph("g", {"a": steps})
    with pytest.raises(RxpipeError, match=r"^stream 'a' must be a list of steps; got "):
        Graph("g", {"a": [ops.interval("1s")]}).replaced("a", steps)
