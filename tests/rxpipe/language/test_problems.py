"""Every kind of problem: its whole message, its place, and the caret under the right character."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rxpipe.errors import GraphError, Place, Problem
from rxpipe.expressions import callcode
from rxpipe.expressions.functions import FUNCTIONS
from rxpipe.graph import Graph
from rxpipe.language import elsewhere
from rxpipe.language.config import load, load_text
from rxpipe.registry import registry

Found = Callable[..., list[Problem]]
SOURCE = "    - t_files: {paths: [a]}\n"
READ = SOURCE + "    - t_read\n    - t_parse\n"


def one(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


# body, place in the text (the characters the caret must point at), where, message
CASES = {
    "unknown operator": (
        f"streams:\n  s:\n{SOURCE}    - t_raed\n",
        "t_raed",
        "s[1]",
        "unknown operator 't_raed', did you mean 't_read'?",
    ),
    "unknown operator, nothing near": (
        f"streams:\n  s:\n{SOURCE}    - zzzzzz: 3\n",
        "zzzzzz",
        "s[1]",
        "unknown operator 'zzzzzz'; 'rxpipe operators' lists all",
    ),
    "operator of another name elsewhere": (
        f"streams:\n  s:\n{SOURCE}    - filter: n > 3\n",
        "filter",
        "s[1]",
        "unknown operator 'filter', did you mean 'where'?",
    ),
    "reactivex's operator without its prefix": (
        f"streams:\n  s:\n{SOURCE}    - pairwise\n",
        "pairwise",
        "s[1]",
        "unknown operator 'pairwise', did you mean 'rx.pairwise'?",
    ),
    "text instead of a list": (
        "streams:\n  s:\n    - t_files: {paths: logs}\n",
        "logs",
        "s[0]",
        "t_files: paths: must be a list; got 'logs'; a list of one is written ['logs']",
    ),
    "unknown parameter": (
        "streams:\n  s:\n    - t_files: {paths: [a], pattern: [x]}\n",
        "pattern:",
        "s[0]",
        "t_files: unknown parameter 'pattern', did you mean 'patterns'?",
    ),
    "missing parameter": (
        f"streams:\n  s:\n{READ}    - t_table\n",
        "t_table",
        "s[3]",
        "t_table: parameter 'by' is missing",
    ),
    "missing parameter that is there, misspelt": (
        "streams:\n  s:\n    - t_files: {path: [a]}\n",
        "path:",
        "s[0]",
        "t_files: unknown parameter 'path', did you mean 'paths'?",
    ),
    "ill-typed parameter": (
        "streams:\n  s:\n    - t_files: {paths: {x: 1}}\n",
        "{x: 1}",
        "s[0]",
        "t_files: paths: must be a list; got {'x': 1}",
    ),
    "ill-typed inside a list": (
        "streams:\n  s:\n    - t_files: {paths: [a, 7]}\n",
        "7",
        "s[0]",
        "t_files: paths.1: must be a text; got 7",
    ),
    "bad unit": (
        f"streams:\n  s:\n{SOURCE}    - t_limit: 3parsec\n",
        "3parsec",
        "s[1]",
        "t_limit: rate: rate must be hertz above 0 or a text such as '0.75Hz', '60/min' or '1000/day'; got '3parsec'",
    ),
    "too many positional": (
        "streams:\n  s:\n    - t_files: {paths: [a]}\n    - t_read\n    - t_parse\n    - t_derive: 3\n",
        "3",
        "s[3]",
        "t_derive takes at most 0 positional parameters; got 1",
    ),
    "unknown stream": (
        f"streams:\n  rows:\n{SOURCE}  s:\n    - from: row\n",
        "row\n",
        "s[0]",
        "unknown stream 'row', did you mean 'rows'?",
    ),
    "unknown stream as an input": (
        f"streams:\n  rows:\n{READ}    - t_join: {{other: tobles}}\n",
        "tobles",
        "rows[3]",
        "unknown stream 'tobles'; there are 'rows', 'errors'",
    ),
    "cycle": (
        "streams:\n  a:\n    - from: b\n  b:\n    - from: c\n  c:\n    - from: a  # here\n",
        "a  # here",
        "c[0]",
        "streams read each other in a circle: a -> c -> b -> a",
    ),
    "cycle of one": (
        "streams:\n  a:\n    - from: a # x\n",
        "a # x",
        "a[0]",
        "streams read each other in a circle: a -> a",
    ),
    "duplicate stream": (
        f"streams:\n  s:\n{SOURCE}  s:\n{SOURCE}",
        None,
        "",
        "key 's' is given twice, first in line 4, column 3",
    ),
    "edge": (
        f"streams:\n  s:\n{SOURCE}    - t_table: {{by: [a]}}\n",
        "t_table",
        "s[1]",
        "t_table takes Batch, got FileEvent from s[0] t_files",
    ),
    "edge with a suggestion": (
        f"streams:\n  s:\n{SOURCE}    - t_read\n    - t_where: x > 1\n",
        "t_where",
        "s[2]",
        None,
    ),
    "edge of a second input": (
        f"streams:\n  rows:\n{READ}  s:\n    - from: rows\n    - t_join: {{other: rows}}\n",
        "rows}",
        "s[1]",
        "t_join takes Table as 'other', got Batch from stream 'rows'",
    ),
    "plain expression": (
        f"streams:\n  s:\n{READ}    - t_where: x > (1\n",
        "(1",
        "s[3]",
        "t_where: condition: an expression must be valid syntax; got '(' was never closed",
    ),
    "quoted expression": (
        f"streams:\n  s:\n{READ}    - t_where: 'x > (1'\n",
        "(1",
        "s[3]",
        "t_where: condition: an expression must be valid syntax; got '(' was never closed",
    ),
    "expression in a named parameter": (
        f'streams:\n  s:\n{READ}    - t_derive: {{a: x, b: "x * (2"}}\n',
        "(2",
        "s[3]",
        "t_derive: b: an expression must be valid syntax; got '(' was never closed",
    ),
    "missing variable": (
        "params: {paths: [a]}\nstreams:\n  s:\n    - t_files: {paths: '${path}'}\n",
        "${path}",
        "s[0]",
        "paths: variable 'path' is neither a parameter of the graph nor in the environment, did you mean 'paths'?",
    ),
    "malformed variable": (
        "streams:\n  s:\n    - t_files: {paths: ['${1x}']}\n",
        "${1x}",
        "s[0]",
        "paths.0: a variable is written ${NAME} or ${NAME:-default}, a dollar sign before a brace $${; got '${1x}'",
    ),
    "not a source": (
        "streams:\n  s:\n    - t_read\n",
        "t_read",
        "s[0]",
        (
            "the first step must be a source, 'from: NAME' or 'merge: [A, B]'; got 't_read', "
            "which takes FileEvent from a step before it"
        ),
    ),
    "source in the middle": (
        f"streams:\n  s:\n{SOURCE}    - t_files: {{paths: [b]}} # second\n",
        "t_files: {paths: [b]} # second",
        "s[1]",
        "'t_files' is a source and can only be the first step; give it a stream and merge that",
    ),
    "from in the middle": (
        f"streams:\n  t:\n{SOURCE}  s:\n{SOURCE}    - from: t\n",
        "from",
        "s[1]",
        "'from' can only be the first step; to add another stream to this one, use 'merge: [NAME]'",
    ),
    "from nothing": (
        "streams:\n  s:\n    - from: [a]\n",
        "[a]",
        "s[0]",
        "'from' takes the name of a stream; got ['a']",
    ),
    "merge of nothing": (
        "streams:\n  s:\n    - t_merge\n",
        "t_merge",
        "s[0]",
        "'t_merge' as the first step takes names of streams; got none",
    ),
    "missing input": (
        f"streams:\n  s:\n{READ}    - t_join\n",
        "t_join",
        "s[3]",
        "t_join: parameter 'other' is missing: the name of a stream",
    ),
    "named source": (
        f"streams:\n  s:\n{SOURCE}    - t_limit: {{source: x, rate: 1Hz}}\n",
        "source:",
        "s[1]",
        "unknown parameter 'source'; what 't_limit' reads is the step before it",
    ),
    "empty stream": ("streams:\n  s: []\n", "s:", "s", "a stream needs at least one step; got none"),
    "no steps": ("streams:\n  s:\n", None, "s", "a stream is a list of steps; got nothing"),
    "one step without a list": (
        "streams:\n  s: t_read\n",
        "t_read",
        "s",
        "a stream is a list of steps; begin each with '-', as in '- t_read'",
    ),
    "two operators in a step": (
        f"streams:\n  s:\n{SOURCE}    - t_read:\n      block: 3KB\n",
        "block",
        "s[1]",
        (
            "a step is one operator; begin another step with '-', or indent parameters below the operator; "
            "got 't_read', 'block'"
        ),
    ),
    "a step that is a list": (
        "streams:\n  s:\n    - [t_files]\n",
        "[t_files]",
        "s[0]",
        "a step is an operator's name, alone or with parameters; got a list",
    ),
    "reserved stream": (
        f"streams:\n  errors:\n{SOURCE}",
        "errors",
        "errors",
        "'errors' is the built-in stream of what could not be handled; name yours otherwise",
    ),
    "stream name": (
        f"streams:\n  a b:\n{SOURCE}",
        "a b",
        "",
        "a stream's name is made of letters, digits, '_' and '-'; got 'a b'",
    ),
    "unknown setting": (
        f"settings: {{checkpont: 3s}}\nstreams:\n  s:\n{SOURCE}",
        "checkpont",
        "",
        "settings: unknown setting 'checkpont', did you mean 'checkpoint'?",
    ),
    "wrong setting": (
        f"settings: {{checkpoint: 3 moons}}\nstreams:\n  s:\n{SOURCE}",
        "3 moons",
        "",
        None,
    ),
    "unknown key": (
        f"stream: 3\nstreams:\n  s:\n{SOURCE}",
        "stream:",
        "",
        "unknown key 'stream', did you mean 'streams'?",
    ),
    "no streams": ("params: {}\n", None, "", "a graph needs at least one stream, as in 'streams: {NAME: [steps]}'"),
    "unknown type of a parameter": (
        f"params: {{x: {{type: lst, default: []}}}}\nstreams:\n  s:\n{SOURCE}",
        "lst",
        "",
        "params: x: unknown type 'lst', did you mean 'list'?",
    ),
    "default of the wrong type": (
        f"params: {{x: {{type: int, default: many}}}}\nstreams:\n  s:\n{SOURCE}",
        "many",
        "",
        "params: x: must be an integer; got 'many'",
    ),
    "sample of no parameter": (
        f"params: {{paths: []}}\nsample: {{call: 'json:loads', sets: path}}\nstreams:\n  s:\n{SOURCE}",
        "path}",
        "",
        "sample: 'sets' must name a parameter of the graph; got 'path', did you mean 'paths'?",
    ),
    "value on samples of no parameter": (
        f"params: {{on: []}}\nsample: {{call: 'json:loads', sets: on, values: {{one: x}}}}\nstreams:\n  s:\n{SOURCE}",
        "x}",
        "",
        "sample: 'values' must name a parameter of the graph; got 'one', did you mean 'on'?",
    ),
    "values on samples that are no mapping": (
        f"params: {{paths: []}}\nsample: {{call: 'json:loads', sets: paths, values: x}}\nstreams:\n  s:\n{SOURCE}",
        "x}",
        "",
        "sample: 'values' must be a mapping of parameters; got 'x'",
    ),
    "secret in the open": (
        f"streams:\n  s:\n{READ}    - t_send: {{key: abc}}\n",
        "abc",
        "s[3]",
        None,
    ),
    "alias of itself": (
        f"tests: &a [*a]\nstreams:\n  s:\n{SOURCE}",
        "*a",
        "",
        "anchor 'a' contains itself",
    ),
    "merge key": (
        f"tests: [{{<<: {{a: 1}}}}]\nstreams:\n  s:\n{SOURCE}",
        "<<",
        "",
        "merge keys ('<<') are not used in a graph; write the keys out",
    ),
    "tag": (
        f"tests: [!!python/object:os.system x]\nstreams:\n  s:\n{SOURCE}",
        "!!python",
        "",
        "tags are not used in a graph; got '!!python/object:os.system'; quote what is meant as text",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_problem(kind: str, found: Found) -> None:
    body, pointed, where, message = CASES[kind]
    problem = one(found(body))
    if message is not None:
        assert problem.message == message
    assert problem.where == where
    assert problem.place is not None
    assert problem.place.file == "g.yaml"
    lines = ("graph: g\nplugins: [./lang_ops]\n" + body).split("\n")
    assert problem.place.text == lines[problem.place.line - 1]
    if pointed is not None:
        assert lines[problem.place.line - 1][problem.place.column - 1 :].startswith(pointed.strip("\n"))


def test_the_printed_form(found: Found) -> None:
    problem = one(found(f"streams:\n  s:\n{SOURCE}    - t_raed\n"))
    assert str(problem) == (
        "g.yaml:6:7: s[1]: unknown operator 't_raed', did you mean 't_read'?\n        - t_raed\n          ^"
    )


def test_edge_suggests_what_could_stand_between(found: Found) -> None:
    message = one(found(f"streams:\n  s:\n{SOURCE}    - t_read\n    - t_where: x > 1\n")).message
    assert message.startswith("t_where takes Batch | Table, got LineDelta from s[1] t_read; ")
    assert message.endswith("could stand between them")
    assert "'parse_json'" in message


def test_all_problems_at_once_in_the_order_of_the_file(found: Found) -> None:
    problems = found(
        f"setings: {{}}\nstreams:\n  s:\n{SOURCE}    - t_limit: soon\n    - t_wat\n"
        "  t:\n    - from: u\n    - t_read: {blok: 1}\n"
    )
    assert [p.place.line for p in problems if p.place] == [3, 7, 8, 10, 11]


def test_a_broken_step_is_not_complained_about_twice(found: Found) -> None:
    one(found(f"streams:\n  s:\n{SOURCE}    - t_wat: {{x: 1}}\n    - t_table: {{by: [a]}}\n"))


def test_column_inside_a_block_scalar(found: Found) -> None:
    problem = one(found(f"streams:\n  s:\n{READ}    - t_where: |\n        x > 1 and\n        foo( + )\n"))
    assert problem.place is not None
    assert problem.place.text == "        foo( + )"
    assert problem.place.line == 10


def test_no_column_inside_a_replaced_variable(found: Found) -> None:
    problem = one(found(f"params: {{limit: '(1'}}\nstreams:\n  s:\n{READ}    - t_where: x > ${{limit}}\n"))
    assert problem.place is not None
    assert problem.place.text[problem.place.column - 1 :] == "x > ${limit}"


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("graph: a: b\n", "not YAML: mapping values are not allowed", 1, 9),
        ("graph: [a\nb: c\n", "while parsing a flow sequence begun in line 1", 2, 2),
        ("graph: g\nstreams:\n\ts: 1\n", "indent with spaces, not with tabs", 3, 1),
        ("graph: *x\n", "unknown anchor 'x'", 1, 8),
        ("", "the file is empty; a graph begins with 'graph: NAME'", 1, 1),
        ("# nothing\n", "the file is empty; a graph begins with 'graph: NAME'", 1, 1),
        ("- a\n", "a graph file is a mapping that begins with 'graph: NAME'; got a list", 1, 1),
        ("graph: a\n---\ngraph: b\n", "a graph file holds one document; got a second one, begun by '---'", 2, 1),
        ("graph: " + "[" * 100 + "]" * 100, "60 deep at most; got more", 1, 68),
        ("graph: " + "[" * 100_000, "60 deep at most; got more", 1, 68),
        ("graph: g\n? [a]\n: b\n", "a key must be a name; got a list", 2, 3),
        ("x" * 1_000_001, "a graph file has at most 1,000,000 characters; got 1,000,001", 1, 1),
    ],
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])  # libyaml's words and limits are its own
def test_text_that_is_no_graph(
    text: str, message: str, line: int, column: int, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxpipe.language.yamltext._LOADER", getattr(yaml, loader, yaml.SafeLoader))
    with pytest.raises(GraphError) as caught:
        load_text(text, environ={})
    problem = next(problem for problem in caught.value.problems if message in problem.message)
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (line, column)


def test_aliases_that_explode() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(GraphError, match=r"a graph has at most 50,000 values, aliases followed; got more"):
        load_text("\n".join(lines), environ={})


def test_control_character() -> None:
    with pytest.raises(GraphError, match=r"not YAML: "):
        load_text("graph: a\x00b\n", environ={})


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", ".hidden", "x y", ""])
def test_graph_names_are_file_names(name: str, read: Callable[..., Graph]) -> None:
    with pytest.raises(GraphError, match=r"a graph's name is made of|graph: NAME|must be a text"):
        read(f"graph: '{name}'\nplugins: [./lang_ops]\nstreams:\n  s:\n    - t_read\n")


def test_plugin_folder_missing(found: Found) -> None:
    problem = one(
        found("streams:\n  s:\n    - t_files: {paths: [a]}\n", start="graph: g\nplugins: [./lang_ops, ./lang_opz]\n")
    )
    assert problem.message.startswith("plugins: no folder './lang_opz' in ")
    assert problem.message.endswith("did you mean './lang_ops'?")
    assert (problem.place and problem.place.column) == 23


@pytest.mark.filterwarnings("ignore")
def test_failed_plugins_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no luck')")
    with pytest.raises(GraphError, match=r"unknown operator 'zzzzzz' \(plugins .*broken\.py: RuntimeError: no luck\)"):
        load_text("graph: g\nplugins: [.]\nstreams:\n  s:\n    - zzzzzz\n", folder=tmp_path, environ={})


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "usage.yaml").write_text("graph: x")
    (tmp_path / "latin.yaml").write_bytes(b"graph: \xe9")
    with pytest.raises(GraphError, match=r"^usge\.yaml: no such file, did you mean 'usage\.yaml'\?$"):
        load("usge.yaml")
    with pytest.raises(GraphError, match=r"^no file and no shipped graph is called 'nothing_like_it'"):
        load("nothing_like_it")
    with pytest.raises(GraphError, match=r": is not UTF-8 text$"):
        load("latin.yaml")
    with pytest.raises(GraphError, match=r": must be a graph file; got a folder$"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(GraphError, match=r"pipe\.yaml: must be a graph file; got a pipe, a device or a socket$"):
        load("pipe.yaml")


def test_a_step_without_the_parameter_that_names_its_outputs(found: Found) -> None:
    problems = found("streams:\n  s:\n    - list_files: {paths: [logs]}\n    - route: {by: level}\n")
    assert any("route: parameter 'to' is missing" in problem.message for problem in problems)


def test_what_steers_a_terminal_is_written_out() -> None:
    with pytest.raises(GraphError) as raised:
        load_text('graph: g\nstreams:\n\ts: []\n  "\u009b31m": \x1b]0;pwned\x07\n', file="\x1b[2J.yaml")
    text = str(raised.value)
    assert text.replace("\n", "").isprintable()
    assert text.startswith(r"\x1b[2J.yaml:")


def test_what_is_told_for_a_name_from_elsewhere_exists() -> None:
    assert set(elsewhere.ELSEWHERE.values()) <= set(registry.names())
    assert not set(elsewhere.ELSEWHERE) & set(registry.names())
    assert set(callcode.ELSEWHERE.values()) <= set(FUNCTIONS)
    assert not set(callcode.ELSEWHERE) & set(FUNCTIONS)


@pytest.mark.parametrize("column", [1, 30, 61, 100, 140])
@pytest.mark.parametrize("columns", [None, 40, 80, 300])
def test_the_caret_stands_below_its_character_in_any_terminal(column: int, columns: int | None) -> None:
    line = "".join(chr(ord("a") + n % 26) if n % 7 else "\t" for n in range(139)) + "!"
    _, source, caret = Problem("wrong", Place("g.yaml", 1, column, line)).told(columns).split("\n")
    assert source[len(caret) - 1] == line[column - 1].replace("\t", " ")
    assert len(source) <= (columns or 206)
    assert len(source) >= min(len(line), columns or 104) - 2, "what there is room for is shown"
