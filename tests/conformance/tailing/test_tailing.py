"""rxpipe through every scenario, in a quick size; and that the suite would notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.tailing.drive import Verdict, drive
from tests.conformance.tailing.judge import Written, judge, names_in
from tests.conformance.tailing.scenarios import GROUPS, SCENARIOS, Scenario
from tests.conformance.tailing.table import PAGE, put
from tests.conformance.tailing.tools import Rxpipe
from tests.conformance.tailing.writer import Writer, line_of

pytestmark = pytest.mark.xdist_group("tailing")  # else each worker would run all scenarios

AT_ONCE = 4
"""How many scenarios run beside each other: they wait more than they work."""


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Verdict]]]:
    """What comes of the scenarios that were chosen, which all run beside each other."""
    chosen = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_rxpipe_holds.__name__
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            scenario.name: pool.submit(drive, Rxpipe(), scenario, tmp_path_factory.mktemp("tailing"))
            for scenario in SCENARIOS
            if scenario in chosen
        }


@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=scenario.name) for scenario in SCENARIOS])
def test_rxpipe_holds(scenario: Scenario, verdicts: dict[str, Future[Verdict]]) -> None:
    verdict = verdicts[scenario.name].result()
    if verdict.skipped:
        pytest.skip(verdict.skipped)
    assert verdict.holds, str(verdict)


def written(*numbers: int, file: int = 1, sure: bool = True) -> Written:
    found = Written()
    found.add([("a", file, number, number, 1, sure) for number in numbers])
    return found


def lines(*numbers: int, file: int = 1) -> list[bytes]:
    return [line_of("a", file, number, 40) + b"\n" for number in numbers]


@pytest.mark.parametrize(
    ("delivered", "told"),
    [
        (lines(1, 2, 3), []),
        (lines(1, 3), ["lost 1 (a/1:2)"]),
        (lines(1, 2, 2, 3, 3), ["doubled 2 (a/1:2, a/1:3)"]),
        (lines(2, 1, 3), ["disordered 1 (a/1:1)"]),
        ([*lines(1, 2, 3), lines(1)[0][5:]], ['torn 1 (":"a","file":1,"n":1,"size":40']),
        ([*lines(1, 2), lines(3)[0].replace(b"z", b"y", 1)], ["lost 1 (a/1:3)", 'torn 1 ({"log":"a","file":1,"n":3']),
        (lines(1, 2, 3, 4), ["doubled 1 (a/1:4)"]),
        ([*lines(1, 2, 3), b"\n", b"#bad\n"], []),
        (lines(), ["lost 3 (a/1:1, a/1:2, a/1:3)"]),
    ],
)
def test_what_is_wrong_is_told_by_name(delivered: list[bytes], told: list[str]) -> None:
    problems = judge(names_in(delivered), written(1, 2, 3), across=False)
    assert len(problems) == len(told)
    for problem, start in zip(problems, told, strict=True):
        assert str(problem).startswith(start)


def test_order_over_the_files_of_a_log_is_asked_for_where_it_is_meant() -> None:
    both = written(1, 2)
    both.add([("a", 2, 3, 3, 1, True)])
    delivered = [*lines(3, file=2), *lines(1, 2)]
    assert judge(names_in(delivered), both, across=False) == []
    assert [problem.kind for problem in judge(names_in(delivered), both, across=True)] == ["disordered"]


def test_what_nobody_could_read_may_be_missing_and_may_not_be_doubled() -> None:
    unsure = written(1, sure=False)
    assert judge([], unsure, across=False) == []
    assert [problem.kind for problem in judge(names_in(lines(1, 1)), unsure, across=False)] == ["doubled"]


def test_the_writer_knows_what_it_wrote(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "seed")
    orders: list[tuple[str, dict[str, Any]]] = [
        ("append", {"path": "a.log", "count": 30, "torn": True}),
        ("half", {"path": "a.log"}),
        ("rotate", {"path": "a.log"}),
        ("append", {"path": "a.log", "count": 5, "end": "\r\n"}),
        ("rest", {"path": "a.log.1"}),
        ("append", {"path": "a.log.1", "count": 2}),
        ("rotate", {"path": "a.log"}),
        ("header", {"path": "b.log"}),
        ("append", {"path": "b.log", "count": 3, "together": 2}),
    ]
    known = Written()
    for what, given in orders:
        known.add(writer.obey(what, given)["written"])
    found = [line for path in sorted(tmp_path.iterdir()) for line in path.read_bytes().splitlines()]
    assert known.count == len(found) == 42
    assert judge(names_in(found), known, across=False) == []


def test_every_group_has_scenarios_of_their_own_names() -> None:
    assert {scenario.group for scenario in SCENARIOS} == set(GROUPS)
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_the_page_shows_every_scenario() -> None:
    shown = re.findall(r"^\| \*([^*]+)\*: (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == [(scenario.name, scenario.what) for scenario in SCENARIOS]


def test_a_table_is_put_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- conformance: generated by `make conformance` -->\nold\n<!-- conformance: end -->\nafter\n"
    )
    put(page, "new\n")
    put(page, "newer\n")
    assert page.read_text() == (
        "before\n<!-- conformance: generated by `make conformance` -->\nnewer\n<!-- conformance: end -->\nafter\n"
    )
