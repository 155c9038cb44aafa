"""Graphs of small operators, loaded from text."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxpipe.errors import GraphError, Problem
from rxpipe.graph import Graph
from rxpipe.language.config import load_text
from rxpipe.registry import registry

HERE = Path(__file__).parent
GOOD = """\
graph: good
description: Everything once
plugins: [./lang_ops]
params:
  paths: [a, b]
  rate: {type: rate, default: 0.75Hz, description: How often}
settings: {checkpoint: 5s}
streams:
  rows:
    - t_files: {paths: "${paths}"}
    - t_read
    - t_parse: {fields: {model: message.model, on: "1e3", x: "on"}}
    - t_where: tokens > 3
    - t_derive: {cost: tokens * 2}
  totals:
    - from: rows
    - t_table: {by: [model]}
    - t_limit: ${rate}
  both:
    - t_merge: [rows, errors]
    - t_join: {other: totals, wait: 3s}
"""
START = "graph: g\nplugins: [./lang_ops]\n"
SOURCE = "    - t_files: {paths: [a]}\n"


@pytest.fixture(autouse=True)
def _only_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operators of these tests are not seen by others."""
    monkeypatch.setattr(registry, "_failed", {})
    registry.load_folder(HERE / "lang_ops")
    for name, module in list(sys.modules.items()):
        if name.startswith("rxpipe_plugins.") and name.endswith("lang_operators"):
            for made in vars(module).values():
                if hasattr(made, "operator"):
                    registry.add(made.operator)
    yield
    for name in [name for name in registry._operators if name.startswith("t_")]:
        del registry._operators[name]


@pytest.fixture
def good() -> str:
    """A graph with everything in it."""
    return GOOD


@pytest.fixture
def read() -> Callable[..., Graph]:
    """Load a graph from text, in this folder."""

    def load(text: str, **options: Any) -> Graph:
        options = {"environ": {}, "file": "g.yaml"} | options
        return load_text(textwrap.dedent(text), folder=HERE, **options)

    return load


@pytest.fixture
def found(read: Callable[..., Graph]) -> Callable[..., list[Problem]]:
    """The problems of a graph's text; `body` is put behind the head of a graph file."""

    def problems(body: str, *, start: str = START, **options: Any) -> list[Problem]:
        with pytest.raises(GraphError) as caught:
            read(start + textwrap.dedent(body), **options)
        return caught.value.problems

    return problems
