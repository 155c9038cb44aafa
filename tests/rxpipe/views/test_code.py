"""The generated loops of a graph, for those who want to read them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rxpipe.cli import main
from rxpipe.errors import RunError
from rxpipe.language.config import load, load_text
from rxpipe.language.plan import Plan
from rxpipe.views.code import loops, text

READ = "{watch: {paths: [logs]}}, read_lines"


def planned(streams: str) -> Plan:
    return load_text(f"graph: g\nstreams:\n{streams}").plan()


def test_a_run_and_the_aggregate_behind_it() -> None:
    made = planned(
        f"  a: [{READ}, {{parse_json: {{fields: {{n: {{path: m.n, type: int}}, k: k}}}}}}, {{where: n > 1}}]\n"
        "  b: [{from: a}, {derive: {d: n * 2}}, {aggregate: {by: [k], d: sum(d)}}, to_terminal]"
    )
    first, second = loops(made)
    assert first.steps == ("a[2] parse_json", "a[3] where")
    assert first.rows == "Line(a0=k, n0=m: Line(a0=n))"
    assert "if not (_r_n0_a0 > 1): continue" in first.source.replace("_v0", "_r_n0_a0")
    assert second.steps == ("b[1] derive", "b[2] aggregate")
    assert second.rows == "Row(n, k)"
    assert second.source.startswith("def _run(_rows, _groups):\n")
    for code in (first, second):
        compile(code.source, "loop", "exec")
    assert text(made) == f"{first}\n\n\n{second}"
    assert str(second).startswith("# b[1] derive, b[2] aggregate\n# _rows: Row(n, k)\ndef _run(")


def test_rows_of_unknown_fields_are_dicts() -> None:
    [code] = loops(planned(f"  a: [{READ}, parse_json, {{where: n > 1}}, {{derive: {{d: n * 2}}}}, to_stdout]"))
    assert code.rows == "dict"
    assert "_r['n']" in code.source or "_r.get('n')" in code.source


def test_steps_inside_a_step() -> None:
    inside = "[{where: n > 1}, {derive: {d: n * 2}}, {aggregate: {n: count()}}]"
    [code] = loops(planned(f"  a: [{READ}, parse_json, {{parallel: {{steps: {inside}}}}}, to_terminal]"))
    assert code.steps == ("a[3] parallel > where", "a[3] parallel > derive", "a[3] parallel > aggregate")


def test_nothing_to_fuse() -> None:
    made = planned("  a: [from_stdin, parse_json, {where: n > 1}, to_stdout]")
    assert text(made) == "# no two record-wise steps stand side by side: there is nothing to fuse"


def test_nothing_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"n": 1}\n')
    out = "{to_jsonl: out.jsonl}, {to_sqlite: {path: d, table: t}}"
    watch = "{watch: {paths: [.]}}, read_lines"
    assert loops(planned(f"  a: [{watch}, parse_json, {{where: n > 0}}, {{derive: {{d: n}}}}, {out}]"))
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_a_step_that_cannot_begin(tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    table.write_text('{"a": {"x": 1}}')
    made = planned(
        f"  a: [from_stdin, parse_json, {{enrich: {{key: k, files: [{table}]}}}}, {{where: x > 1}}, to_stdout]"
    )
    table.unlink()
    with pytest.raises(RunError, match=r"a\[2\] enrich"):
        loops(made)


def test_the_usage_graph() -> None:
    names = [step.partition("[")[0] for code in loops(load("usage").plan()) for step in code.steps]
    assert {"priced", "entries", "unknown"} <= {*names}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("graph: g\nstreams:\n  a: [from_stdin, parse_json, {where: n > 1}, {derive: {d: n}}, to_stdout]\n")
    assert main(["show", str(file), "--code"]) == 0
    assert capsys.readouterr().out.startswith("# a[2] where, a[3] derive\n# _rows: dict\ndef _run(_rows):\n")
    assert main(["show", str(file), "--json"]) == 0
    assert '"guarantee": "shown"' in capsys.readouterr().out


def test_code_can_be_read_on_any_ground(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its colours are those of the terminal's palette, and what has none is written as all else is."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert main(["show", "events", "--code"]) == 0
    shown = capsys.readouterr().out
    assert {code for codes in re.findall(r"\x1b\[([\d;]*)m", shown) for code in codes.split(";")} == {
        "0", "2", "32", "36", "49",
    }  # fmt: skip
    assert re.sub(r"\x1b\[[\d;]*m| +$", "", shown, flags=re.MULTILINE).startswith("# costs[3] where, costs[4] derive,")
