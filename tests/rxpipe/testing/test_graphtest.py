"""The tests of a graph, run: what passes, what fails, and what is said of it."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as rxo

from rxpipe.errors import GraphError
from rxpipe.graph import Graph, stream
from rxpipe.language.config import load_text
from rxpipe.operators import interval
from rxpipe.testing import cases_of, run_case
from rxpipe.testing.graphtest import Outcome

GRAPH = """\
graph: copy
params: {limit: 0}
streams:
  lines: [{watch: {paths: [in]}}, read_lines]
  rows: [{from: lines}, {parse_json: {fields: {n: {path: n, type: int}}}}, {where: "n > ${limit}"}]
  out: [{from: rows}, {to_jsonl: out.jsonl}]
  sum: [{from: rows}, {aggregate: {n: sum(n)}}]
  parts: [{from: rows}, {split: {big: n > 3}}]
  big: [{from: parts.big}, {derive: {at: now()}}]
  late: [{from: errors}, {select: {why: reason}}]
tests:
"""


def outcome(text: str, graph: str = GRAPH) -> Outcome:
    """What becomes of one test."""
    loaded = load_text(graph + textwrap.indent(textwrap.dedent(text).strip(), "  ") + "\n", file="g", tests=True)
    [case] = cases_of(loaded)
    return run_case(loaded, case)


def failures(text: str, graph: str = GRAPH) -> list[str]:
    return [str(failure) for failure in outcome(text, graph).failures]


@pytest.mark.parametrize(
    "test",
    [
        "{given: {lines: [{n: 1}, '{bad', {n: 4}]}, expect: {out: [{n: 1}, {n: 4}], errors: [no valid record]}}",
        "{where: {a: {n: 1}, b: {n: 9}}, given: {rows: '-a-b'}, until: 6, expect: {parts: '-a-', big: '---c--|'}}",
        "{where: {a: {n: 1}, g: {_gone: x}}, given: {rows: '-ag|'}, expect: {out: {marble: '-ag|'}, sum: [{n: 1}]}}",
        "{where: {a: {n: 1}, r: [{n: 1, _retracted: true}, {n: 5}]}, given: {rows: 'ar|'}, expect: {sum: [{n: 5}]}}",
        "{where: {b: {n: 9}}, given: {rows: '-b|'}, expect: {parts.big: '-b|', parts: '--|'}}",
        "{where: {b: {n: 2}}, given: {parts.big: '-b|'}, expect: {big: {marble: '-b|', match: part}}}",
        "{given: {parts: [{n: 1}]}, expect: {big: '|', parts: [{n: 1}]}}",
        "{where: {e: {why: x}}, given: {late: 'e|'}, expect: {late: 'e|', out: '|', errors: '-|'}}",
        "{tick: 10s, where: {a: {n: 1}}, given: {rows: '-a|'}, expect: {out: '-a|'}}",
        "{set: {limit: 2}, given: {lines: [{n: 1}, {n: 3}]}, expect: {out: [{n: 3}]}}",
        "{clock: 100, where: {a: {n: 7}, x: {n: 7, at: 100.1}}, given: {rows: '-a|'}, expect: {big: '-x|'}}",
        "{given: {lines: ['{']}, where: {e: {reason: no valid}}, expect: {errors: '(e|)', late: '(f|)'}}",
    ],
)
def test_passes(test: str) -> None:
    test = test.replace("'---c--|'", "{marble: '---b--|', match: part}")
    test = test.replace("'(f|)'", "{records: [{}], match: part}")
    assert failures(f"- {{name: x, {test[1:]}") == []


def test_a_table_given() -> None:
    graph = GRAPH + "  - {name: x, given: {sum: [{n: 1}]}, expect: {sum: [{n: 1}]}}\n"
    [case] = cases_of(load_text(graph))
    assert run_case(load_text(graph), case).failures == []


def test_times_that_differ() -> None:
    test = "- {name: x, where: {a: {n: 1}}, given: {rows: '-a|'}, expect: {out: '--a|'}}"
    [told] = failures(test)
    assert told.startswith(
        "g:12:71: out: differs first at tick 1\n    tick      0\n    expected  --a|\n    got       -a|\n"
    )


def test_records_that_differ_and_what_may_be_why() -> None:
    test = "- {name: x, given: {lines: [{n: 1}, {n: x}]}, expect: {out: [{n: 1}, {n: 2}]}}"
    first, second = failures(test)
    assert first == 'g:12:63: out: records differ; expected 2, got 1\n      1  {"n":1}\n    - 2  {"n":2}'
    assert second.startswith("the run had 1 error, which may be why\n    rows[1] parse_json: ")


def test_rows_that_differ() -> None:
    test = "- {name: x, given: {rows: [{n: 1}]}, expect: {sum: [{n: 2}]}}"
    [told] = failures(test)
    expected = 'g:12:54: sum: rows differ\n    - {"n":2}\n    + {"n":1}\n         n: expected 2, got 1'
    assert told == expected


def test_the_order_of_rows_counts_where_that_is_said() -> None:
    graph = GRAPH.replace("{aggregate: {n: sum(n)}}", "{aggregate: {by: [n]}}")
    test = "- {{name: x, given: {{rows: [{{n: 2}}, {{n: 1}}]}}, expect: {{sum: {{rows: [{{n: 1}}, {{n: 2}}]{}}}}}}}"
    assert failures(test.format(""), graph) == []
    assert len(failures(test.format(", ordered: true"), graph)) == 1


def test_after_the_end_of_a_marble_without_one_anything_may_come() -> None:
    test = "- {{name: x, where: {{a: {{n: 1}}}}, given: {{rows: '-a--a|'}}, expect: {{out: '{}'}}}}"
    assert failures(test.format("-a-")) == []
    assert len(failures(test.format("-a--"))) == 0
    assert len(failures(test.format("-a---"))) == 1
    assert len(failures(test.format("-a--|"))) == 1


def test_nothing_of_the_users_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text('{"n": 1}\n')
    graph = GRAPH.replace("paths: [in]", "paths: [in, ~/in]").replace("to_jsonl: out.jsonl", "to_jsonl: ~/out.jsonl")
    assert failures("- {name: x, files: {in/b: [{n: 5}]}, expect: {out: [{n: 5}]}}", graph) == []
    assert failures("- {name: x, expect: {out: []}}", graph) == []
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a", "in"]
    assert (Path.cwd(), os.environ["HOME"]) == (tmp_path, str(tmp_path))


def test_sources_run_where_there_are_files_or_nothing_is_given() -> None:
    rows = "rows: [{watch: {paths: [.]}}, read_lines, parse_json]"
    graph = f"graph: g\nstreams:\n  ticks: [{{interval: 1s}}]\n  {rows}\ntests:\n"
    assert failures("- {name: x, tick: 1s, until: 3, expect: {ticks: '-01(2|)'}}", graph) == []
    assert (
        failures("- {name: x, tick: 1s, until: 3, files: {}, given: {rows: []}, expect: {ticks: '-01(2|)'}}", graph)
        == []
    )
    assert failures("- {name: x, tick: 1s, until: 3, given: {rows: []}, expect: {ticks: '|'}}", graph) == []


def test_what_is_done_to_files() -> None:
    test = """
    - name: x
      files: {in/a: [{n: 1}]}
      changes:
        - {at: 1, append: {in/b/c: "{\\"n\\":"}}
        - {at: 2, append: {in/b/c: "2}\\n"}}
        - {at: 3, rename: {in/a: in/d}}
        - {at: 4, append: {in/d: [{n: 3}]}}
        - {at: 5, truncate: {in/d: 0}}
        - {at: 6, append: {in/d: ['{"n": 4}']}}
        - {at: 7, write: {in/d: [{n: 5}]}}
        - {at: 8, delete: [in/d, in/b/c]}
      where:
        {a: {n: 1}, b: {n: 2}, c: {n: 3}, d: {n: 4}, e: {n: 5}, g: {_gone: "${files}/in/d"},
         h: {_gone: "${files}/in/b/c"}}
      until: 10
      expect: {out: "a-b-cgd(ge)(gh)-|"}
    """
    assert failures(test) == []


def test_a_change_of_what_is_not_there() -> None:
    told = failures("- {name: x, changes: [{at: 2, delete: in/a}], expect: {out: []}}")
    assert told == ["g:12:5: tick 2: delete 'in/a': No such file or directory"]


def test_a_run_that_fails() -> None:
    tests = [{"name": "x", "given": {"rows": "-1|"}, "expect": {"out": "-1|"}}]
    graph = Graph("g", {"rows": [interval("1s")], "out": [stream("rows"), rxo.map(lambda _: 1 // 0)]}, tests=tests)
    [case] = cases_of(graph)
    first, second = (str(failure) for failure in run_case(graph, case).failures)
    assert first.startswith("the run failed: out[1] map: ZeroDivisionError")
    assert second.startswith("out: differs first at tick 1")


def test_a_kill_of_a_run_that_has_ended() -> None:
    told = failures("- {name: x, given: {lines: [{n: 1}]}, faults: [{kill: 5}], expect: {out: [{n: 1}]}}")
    assert told == ["g:12:5: tick 5: a run that is killed must be running; it had ended before"]


def test_a_run_that_does_not_come_to_its_end() -> None:
    test = "- {name: x, given: {rows: [{n: 1}]}, faults: [{sink: out, fails: 1000}], expect: {sum: [{n: 1}]}}"
    [told] = failures(test)
    assert told.startswith("g:12:5: the run must have drained within 1h; ")


appends = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), min_size=1, max_size=6)


@given(appends, st.lists(st.integers(0, 45), max_size=4), st.integers(0, 3))
def test_whenever_it_is_killed_each_record_comes_once(
    appended: list[tuple[int, int]], kills: list[int], fails: int
) -> None:
    rows = [{"n": number + 1} for number, _ in enumerate(appended)]
    changes = [
        {"at": at, "append": {f"in/{file}": [row]}} for (at, file), row in zip(sorted(appended), rows, strict=True)
    ]
    faults = [{"kill": tick} for tick in kills] + [{"sink": "out", "fails": fails, "at": 3}] * (fails > 0)
    total = [{"n": sum(row["n"] for row in rows)}]
    loaded = load_text(GRAPH.removesuffix("tests:\n"))
    loaded.tests = [
        {
            "name": "x",
            "changes": changes,
            "faults": faults,
            "expect": {"sum": total, "out": {"records": rows, "ordered": False}},
        }
    ]
    [case] = cases_of(loaded)
    assert [str(failure) for failure in run_case(loaded, case).failures] == []


def test_state_that_is_not_saved_shows_when_the_run_is_killed() -> None:
    """A test with a kill can fail: a step that forgets counts too little."""
    tests = [
        {
            "name": "x",
            "tick": "1s",
            "given": {"rows": "1-1--1---"},
            "faults": [{"kill": 4}] * kill,
            "expect": {"count": {"records": [1, 2, 3]}},
        }
        for kill in (False, True)
    ]
    tests[1]["name"] = "y"
    graph = Graph(
        "g", {"rows": [interval("1s")], "count": [stream("rows"), rxo.scan(lambda n, _: n + 1, 0)]}, tests=tests
    )
    steady, killed = (run_case(graph, case).failures for case in cases_of(graph))
    assert steady == []
    assert len(killed) == 1
    assert "- 3  3\n" in str(killed[0])
    assert "+ 3  1" in str(killed[0])


def test_a_sink_that_cannot_go_back_was_given_twice_what_came_since_the_checkpoint() -> None:
    graph = GRAPH.replace("to_jsonl: out.jsonl", "to_callback: 'builtins:len'")
    test = "- {name: x, given: {rows: 'a--------------b---'}, where: {a: {n: 1}, b: {n: 2}}, faults: [{kill: 17}], "
    test += "expect: {out: %s}}"
    assert failures(test % "[{n: 1}, {n: 2}, {n: 2}]", graph) == []
    assert failures(test % "[{n: 1}, {n: 2}]") == []


def test_a_test_that_makes_its_graph_wrong() -> None:
    graph = GRAPH.replace("{limit: 0}", "{limit: {type: str, default: '0'}}")
    with pytest.raises(GraphError, match=r"expected an operand|must be"):
        failures("- {name: x, set: {limit: '+ +'}, expect: {out: []}}", graph)
