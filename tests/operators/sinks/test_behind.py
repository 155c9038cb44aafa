"""Sinks that append to what no state knows of say so: it may be what a state knew of that was lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from rxpipe import Graph, operators
from rxpipe.testing import VirtualRun

ops: Any = operators
SINKS: dict[str, tuple[Any, str]] = {
    "jsonl": (lambda folder: ops.to_jsonl(str(folder / "out")), "out holds 8 bytes"),
    "csv": (lambda folder: ops.to_csv(str(folder / "out")), "out holds 4 bytes"),
    "rotating": (lambda folder: ops.write_lines(str(folder / "out"), max_size="1MB"), "holds 8 bytes"),
    "sqlite": (lambda folder: ops.to_sqlite(str(folder / "out"), "rows"), "table rows of .* holds 1 rows"),
    "parquet": (lambda folder: ops.to_parquet(str(folder / "out")), "out holds 1 files"),
}


@pytest.fixture
def told() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)


@pytest.mark.parametrize("kind", SINKS)
def test_what_no_state_knows_of(kind: str, tmp_path: Path, told: list[str]) -> None:
    make, match = SINKS[kind]
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    (tmp_path / "in.jsonl").write_text('{"n": 1}\n')

    def run(state: Path | None) -> None:
        steps = [ops.watch([str(tmp_path / "in.jsonl")]), ops.read_lines(), ops.parse_json(), make(tmp_path)]
        with VirtualRun(Graph("behind", {"main": steps}), once=True, state=state) as run:
            run.advance(10)

    run(tmp_path / "state.db")
    run(tmp_path / "state.db")
    assert told == []
    (tmp_path / "state.db").unlink()
    run(tmp_path / "state.db")
    (line,) = told
    assert re.search(f"^main\\[3\\] .*{match} that the state does not know of: it appends to them", line)
    run(None)
    assert len(told) == 1
