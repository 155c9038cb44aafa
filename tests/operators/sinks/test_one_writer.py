"""Sinks that have one writer: who waits for the end of one may begin the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

from rxpipe.elements import Batch
from rxpipe.operators.sinks.to_csv import to_csv
from rxpipe.operators.sinks.to_dead_letters import to_dead_letters
from rxpipe.operators.sinks.to_jsonl import to_jsonl
from rxpipe.operators.sinks.to_parquet import to_parquet
from rxpipe.operators.sinks.write_lines import write_lines


@pytest.mark.parametrize("sink", [to_jsonl, to_csv, to_parquet, to_dead_letters, write_lines])
def test_whoever_waits_for_the_end_can_write_again(sink: Any, tmp_path: Path) -> None:
    again: list[bool] = []

    def write_again() -> None:
        again.append(True)
        rx.of(Batch([{"n": 2}])).pipe(sink(str(tmp_path / "x"))).subscribe(on_error=pytest.fail)

    rx.of(Batch([{"n": 1}])).pipe(sink(str(tmp_path / "x"))).subscribe(on_completed=write_again, on_error=pytest.fail)
    assert again == [True]
