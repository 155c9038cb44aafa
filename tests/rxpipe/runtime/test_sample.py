"""Runs on sample data: it is there from the beginning of the run to its end."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reactivex import operators as rxo

from rxpipe import Graph, Param, RunError, RxpipeError, Sample, stream
from rxpipe import operators as ops
from rxpipe.graph import StepSpec
from rxpipe.runtime.run import Run
from rxpipe.runtime.sample import SampleData


def generated(folder: Path) -> Iterator[float]:
    """One line at once, then another every hundredth of a second."""
    file = folder / "a.jsonl"
    for n in range(100):
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f'{{"n": {n}}}\n')
        yield 0.01


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module: Any = ModuleType("sample_of_tests")
    module.generated = generated
    monkeypatch.setitem(sys.modules, "sample_of_tests", module)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def graph() -> Graph:
    watch = StepSpec("watch", {"paths": "${where}", "patterns": ["*.jsonl"]})
    return Graph(
        "sampled",
        {
            "rows": [watch, ops.read_lines(), ops.parse_json()],
            "counts": [stream("rows"), ops.aggregate(n="count()")],
        },
        params={"where": Param("list", ["nowhere"])},
        sample=Sample("sample_of_tests:generated", "where"),
    )


def test_once(places: Path) -> None:
    made = graph()
    for _ in range(2):
        with made.run(sample=True, once=True) as run:
            run.wait()
            assert run.rows("counts") == [{"n": 1}]
        assert run.table("counts").dicts() == [{"n": 1}]  # afterwards, too
    assert list(places.iterdir()) == []


def test_other_values_on_samples_go_behind_those_given(places: Path) -> None:
    made = graph()
    made.params |= {"n": Param("int", 1), "out": Param("str", "real")}
    made.sample = Sample("sample_of_tests:generated", "where", values={"n": 2, "out": "apart"})
    with SampleData(made) as sample:
        assert sample.values({"n": 3, "where": ["elsewhere"]}) == {
            "n": 3,
            "out": "apart",
            "where": [str(sample.folder)],
        }
    assert list(places.iterdir()) == []


def test_it_grows(places: Path) -> None:
    with graph().run(sample=True) as run:
        assert [path.name.startswith("rxpipe-sample-") for path in places.iterdir()] == [True]
        table = run.table("counts")
        while sum(row["n"] for row in table.dicts()) < 3:  # there is no row before the first record
            assert run.status().state == "running"
    assert list(places.iterdir()) == []


def test_on_the_running_loop(places: Path) -> None:
    async def main() -> None:
        async with graph().start(sample=True, once=True) as run:
            await run.wait()
            assert run.table("counts").dicts() == [{"n": 1}]

    asyncio.run(main())
    assert list(places.iterdir()) == []


def test_nothing_is_left_of_a_run_that_fails(places: Path) -> None:
    def boom(element: object) -> object:
        raise ValueError(element)

    failing = graph().replaced("counts", [stream("rows"), rxo.map(boom)])
    with pytest.raises(RunError, match="ValueError"):
        with failing.run(sample=True, once=True) as run:
            run.wait()
    assert list(places.iterdir()) == []
    with pytest.raises(RxpipeError):
        with graph().run(sample=True, state=places):  # a folder is no state file
            pass
    assert list(places.iterdir()) == []


def test_no_sample() -> None:
    bare = Graph("bare", {"s": [ops.interval("1s")]})
    with pytest.raises(RxpipeError, match="graph 'bare' has no sample data"):
        bare.run(sample=True)


def test_a_plan_has_its_values() -> None:
    with pytest.raises(RxpipeError, match="sample: needs the graph, whose parameter it sets; got its plan"):
        Run(graph().plan(), sample=True)  # type: ignore[arg-type]  # only the command line has one


def test_table_of_what_is_none() -> None:
    with graph().run(sample=True, once=True) as run:
        with pytest.raises(
            RxpipeError, match=r"^table: stream 'rows' must end in a table; it gives Batch: add `aggregate`"
        ):
            run.table("rows")
        with pytest.raises(RxpipeError, match="got 'count', did you mean 'counts'"):
            run.table("count")
        run.wait()
