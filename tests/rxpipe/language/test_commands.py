"""The command line, the operator reference, and the package's own surface."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

import rxpipe
from rxpipe.cli import main
from rxpipe.language import shipped
from rxpipe.registry import built_in, registry
from rxpipe.views import pages, reference

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent


@pytest.fixture
def files(tmp_path: Path, good: str) -> tuple[str, str]:
    """A good and a bad graph."""
    text = good.replace("./lang_ops", str(HERE / "lang_ops"))
    (tmp_path / "good.yaml").write_text(text)
    (tmp_path / "bad.yaml").write_text(text.replace("t_read", "t_raed").replace("0.75Hz", "soon"))
    return str(tmp_path / "good.yaml"), str(tmp_path / "bad.yaml")


def test_check(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = files
    assert main(["check", good]) == 0
    assert capsys.readouterr().out == f"{good}: good (3 streams, 10 steps, 1 warning)\n"
    assert main(["check", good, bad]) == 78
    captured = capsys.readouterr()
    assert f"{bad}:11:7: rows[1]: unknown operator 't_raed', did you mean 't_read'?\n    " in captured.err
    assert f"{bad}:6:31: params: rate: rate must be hertz" in captured.err
    assert captured.err.endswith("2 problems\n")
    assert "\x1b" not in captured.err
    assert main(["check", good, "--set", "rat=3"]) == 78
    assert "--set rat: unknown parameter 'rat' of graph 'good', did you mean 'rate'?" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("command", [["check", "events"], ["operators"], ["show", "events"], ["test", "events"]])
def test_a_full_disk_behind_standard_output_is_told(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        run = [sys.executable, "-m", "rxpipe", *command]
        made = subprocess.run(run, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (made.returncode, made.stderr) == (1, "rxpipe: standard output: No space left on device\n")


def test_check_warns_of_a_plugin_that_cannot_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin, file = tmp_path / "mine" / "broken.py", tmp_path / "w.yaml"
    plugin.parent.mkdir()
    plugin.write_text("raise ValueError('no luck')\n")
    file.write_text("graph: w\nplugins: [./mine]\nstreams:\n  a: [from_stdin, parse_json, to_stdout]\n")
    assert main(["check", str(file), "--strict"]) == 78
    message = f"warning: plugins: {plugin} could not be loaded: ValueError: no luck (unloaded)"
    assert capsys.readouterr().err == f"{file}:2:11: {message}\n    plugins: [./mine]\n              ^\n"


def test_check_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("graph: w\nstreams:\n  a: [from_stdin, parse_json]\n")
    assert main(["check", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{file}: good (1 stream, 2 steps, 1 warning)\n"
    assert captured.err.startswith(f"{file}:3:3: a: warning: nobody reads this stream")
    assert captured.err.endswith("(unread)\n      a: [from_stdin, parse_json]\n      ^\n")
    assert main(["check", str(file), "--strict"]) == 78
    file.write_text("graph: w\nallow: {unread: a}\nstreams:\n  a: [from_stdin, parse_json]\n")
    assert main(["check", str(file), "--strict"]) == 0
    assert "warning" not in "".join(capsys.readouterr()[0].splitlines()[-1:])


def test_check_in_json(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = files
    warned = tmp_path / "w.yaml"
    warned.write_text("graph: w\nstreams:\n  a: [from_stdin, parse_json]\n")
    assert main(["check", good, bad, str(warned), "--json"]) == 78
    captured = capsys.readouterr()
    told = orjson.loads(captured.out)
    assert captured.err == ""
    assert list(told) == [good, bad, str(warned)]
    assert [told[file]["good"] for file in told] == [True, False, True]
    assert told[bad]["problems"][1] == {
        "file": bad,
        "line": 11,
        "column": 7,
        "stream": "rows",
        "step": 1,
        "message": "unknown operator 't_raed', did you mean 't_read'?",
    }
    [warning] = told[str(warned)]["warnings"]
    assert (warning["lint"], warning["line"], warning["stream"], warning["step"]) == ("unread", 3, "a", None)


def test_parameters_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told with all others, by both commands, and nothing runs."""
    file = tmp_path / "w.yaml"
    file.write_text(
        "graph: w\nstreams:\n  a:\n    - from_stdin\n    - parse_json\n    - window: {size: 1m, gap: 1m, n: count()}\n"
        "    - rate: {least: 5Hz, most: 1Hz}\n    - to_jsonl: out.jsonl\n"
    )
    for command in (["check", str(file)], ["run", str(file), "--once"]):
        assert main(command) == 78
        captured = capsys.readouterr()
        assert captured.out == ""
        assert re.findall(r"^\S*w\.yaml:(\S+: .*)", captured.err, re.MULTILINE) == [
            "6:7: a[2]: window: one of 'size' and 'gap' must be given; got both",
            "7:32: a[3]: rate: most: must not be below 'least', 5.0; got 1.0",
        ]
        assert captured.err.endswith("2 problems\n")
    assert not (tmp_path / "out.jsonl").exists()
    file.write_text(
        "graph: w\nparams: {p: {type: str, required: true}}\nstreams: {a: [{read_csv: '${p}'}, to_stdout]}\n"
    )
    assert main(["check", str(file)]) == 0, "without values there is nothing to put together"


def test_run_tells_warnings_once(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("graph: w\nstreams:\n  a: [{list_files: [.]}]\n")
    told = run_python(f"from rxpipe.cli import main; main(['run', {str(file)!r}, '--once'])", tmp_path)
    assert told.count(f"WARNING {file}:3:3: a: nobody reads this stream") == 1


def test_show(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = files
    for form, begin in (("text", "good: "), ("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg")):
        assert main(["show", good, "--format", form]) == 0
        assert capsys.readouterr().out.startswith(begin)
    assert main(["show", bad]) == 78
    assert "t_raed" in capsys.readouterr().err


def test_operators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "throttle"]) == 0
    assert capsys.readouterr().out.startswith("throttle (time): ")
    assert main(["operators", "throttle", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("## throttle\n\n`")
    assert main(["operators", "throtle"]) == 1
    assert capsys.readouterr().err == "rxpipe: unknown operator 'throtle', did you mean 'throttle'?\n"
    assert main(["operators", "--plugins", "/not/there"]) == 1
    assert capsys.readouterr().err == "rxpipe: --plugins: no folder '/not/there'\n"
    assert main(["operators"]) == 0
    out = capsys.readouterr().out
    assert "\ntime\n" in out
    assert "\nplugins\n" in out


@pytest.mark.parametrize("arguments", [[], ["walk"], ["check"], ["show", "x", "--format", "png"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: rxpipe" in capsys.readouterr().err


def test_reference_of_one_operator() -> None:
    join = reference.find("t_join")
    assert reference.edge(join) == "Batch, other: Table -> Batch"
    assert reference.edge(reference.find("t_limit")) == "Any -> the same"
    assert reference.edge(reference.find("t_files")) == "source of FileEvent"
    assert reference.signature(join) == "t_join(other: Observable[Table], wait: Duration = 1)"
    assert reference.text(join).split("\n")[:8] == [
        "t_join (plugins): Batch, other: Table -> Batch",
        "",
        "    Join a table.",
        "",
        "Parameters:",
        "    other: stream of Table",
        "        The table.",
        "    wait: Duration = 1",
    ]
    assert "| `other` | `stream of Table` | required | The table. |" in reference.markdown(join)
    assert "| `*others` | `streams of Any` |  | Further streams. |" in reference.markdown(reference.find("t_merge"))


def test_docstrings_are_taken_apart() -> None:
    made = reference.parse(
        "One\nsentence.\n\nRules: none.\n\n    a  -1-|\n    b  -2-|\n\n"
        "Args:\n    x: First,\n        continued.\n    *y: Second.\n\n"
        "Example:\n    >>> 1\n    1\n\nDelivery: exactly-once,\n    because.\n"
    )
    assert made.summary == "One sentence."
    assert made.body == "Rules: none.\n\n    a  -1-|\n    b  -2-|"
    assert made.arguments == {"x": "First, continued.", "*y": "Second."}
    assert made.sections == {"Example": ">>> 1\n1", "Delivery": "exactly-once, because."}


def test_every_operator_has_a_reference() -> None:
    text = reference.listing_markdown()
    for name in built_in():
        assert f"\n## {name}\n" in text


def test_generated_files_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--check"]) == 0, capsys.readouterr().out


def test_operators_by_name() -> None:
    from rxpipe import operators

    assert set(dir(operators)) == set(built_in())
    for name in built_in():
        assert getattr(operators, name).operator is registry.get(name)
    with pytest.raises(AttributeError, match=r"^there is no operator 'thortle', did you mean 'throttle'\?$"):
        _ = operators.thortle  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(AttributeError, match=r"^there is no operator 'filter', did you mean 'where'\?$"):
        _ = operators.filter  # type: ignore[attr-defined]  # likewise


def run_python(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_folder_is_not_imported_under_another_name() -> None:
    assert "ImportError: this folder is the package rxpipe.operators" in run_python("import operators", ROOT)


def test_importing_rxpipe_is_light() -> None:
    heavy = ("pydantic", "reactivex", "yaml", "loguru", "rich")
    code = f"import sys, rxpipe; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code, ROOT) == "[]\n"


def test_the_public_names() -> None:
    for name in rxpipe.__all__:
        assert getattr(rxpipe, name) is not None
    importlib.import_module("rxpipe.operator")

    assert callable(rxpipe.operator)
    assert set(rxpipe.__all__) <= set(dir(rxpipe))
    with pytest.raises(AttributeError, match="module 'rxpipe' has no attribute 'nothing'"):
        _ = rxpipe.nothing


def test_shipped_graphs_check(capsys: pytest.CaptureFixture[str]) -> None:
    for name in shipped.names():
        assert main(["check", name]) == 0, capsys.readouterr().err


TESTED = """\
graph: tested
plugins: [./lang_ops]
streams:
  rows: [{t_files: {paths: [a]}}, t_read, {t_parse: {fields: {n: n}}}]
  more: [{from: rows}, {t_where: n > 1}]
tests:
  - {name: one, given: {rows: [{n: 1}]}, expect: {rows: [{n: 1}]}}
  - name: "two <&>\\a"
    given: {rows: [{n: 1}]}
    expect: {rows: [{n: "\\e\\0"}]}
"""


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A graph of which one test passes and one fails."""
    file = tmp_path / "tested.yaml"
    file.write_text(TESTED.replace("./lang_ops", str(HERE / "lang_ops")))
    return file


def test_test(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(tested)]) == 1
    first, second, why, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"passed  {tested}: one"
    assert second == f"failed  {tested}: two <&>\a"
    assert why == f"    {tested}:10:20: rows: records differ"
    assert last.startswith("2 tests, 1 failed, in ")
    assert main(["check", str(tested)]) == 0
    assert capsys.readouterr().out == f"{tested}: good (2 streams, 5 steps, 2 tests, 1 warning)\n"


def test_test_selects(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(tested), "-k", "on"]) == 0
    assert "1 test, 0 failed" in capsys.readouterr().out
    assert main(["test", str(tested), "-k", "three", "-k", "four"]) == 1
    assert capsys.readouterr().err == "no test is named like 'three' or 'four'\n"


def test_test_of_a_wrong_graph(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tested.with_name("good.yaml")
    good.write_text(tested.read_text().split("  - name: ")[0])
    tested.write_text(tested.read_text().replace("expect: {rows: [{n: 1}]}", "expect: {rosw: [{n: 1}]}"))
    for command in ("check", "test"):
        assert main([command, str(tested), str(good)]) == 78
        captured = capsys.readouterr()
        message = f"{tested}:7:51: tests[0]: unknown stream 'rosw', did you mean 'rows'?\n    "
        assert captured.err.startswith(message)
        assert captured.err.endswith("1 problem\n")
    assert "1 test, 0 failed" in captured.out
    assert main(["show", str(tested)]) == 0  # who only looks at the graph, or runs it, is not kept from it


def test_junit(tested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.xml"
    assert main(["test", str(tested), "--junit", str(report)]) == 1
    root = ET.parse(report).getroot()
    [suite] = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (str(tested), "2", "1")
    one, two = suite
    assert (one.get("name"), one.get("file"), one.get("line"), len(one)) == ("one", str(tested), "7", 0)
    assert (two.get("name"), len(two)) == ("two <&>\ufffd", 1)
    assert two[0].get("message") == "rows: records differ"
    assert f'{tested}:10:20: rows: records differ\n    - 1  {{"n":"\\u001b' in (two[0].text or "")
    assert main(["test", str(tested), "--junit", str(tmp_path / "no" / "report.xml")]) == 1
    told = "no/report.xml: must be a file that can be written; got No such file or directory\n"
    assert capsys.readouterr().err == f"rxpipe: --junit: {tmp_path}/{told}"
