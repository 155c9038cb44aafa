"""Variables, parameters and secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rxpipe.errors import GraphError, Problem
from rxpipe.graph import Graph, Param
from rxpipe.language.check import plan, problems
from rxpipe.language.values import read_sets
from rxpipe.language.variables import Scope, Value
from rxpipe.views.show import show

Read = Callable[..., Graph]
SECRET = "sk-very-secret-4711"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${name}", "value"),
        ("a ${name} b ${name}", "a value b value"),
        ("$${name}", "${name}"),
        ("$$", "$"),
        ("costs $5", "costs $5"),
        ("^a$", "^a$"),
        ("${number}", 3),
        ("n=${number}", "n=3"),
        ("${items}", [1, "b"]),
        ("${items}!", '[1,"b"]!'),
        ("${flag} ${none}.", "true ."),
        ("${none:-x}", "x"),
        ("${PORT}", 8080),
        ("port ${PORT}", "port 8080"),
        ("${NOPE:-9}", 9),
        ("${NOPE:-a:-b}", "a:-b"),
        ("${NOPE:-}", None),
        ("${EMPTY:-x}", "x"),
        ("${both}", "parameter"),
    ],
)
def test_filling(text: str, value: object) -> None:
    values = {"name": "value", "number": 3, "items": [1, "b"], "flag": True, "none": None, "both": "parameter"}
    scope = Scope({k: Value(v) for k, v in values.items()}, {"PORT": "8080", "EMPTY": "", "both": "environment"})
    filled = scope.fill({"x": [text], "${name}": 1})
    assert filled.value == {"x": [value], "${name}": 1}
    assert not filled.problems


def steps(graph: Graph, environ: dict[str, str] | None = None, **values: Any) -> dict[str, Any]:
    made = plan(graph, values, environ or {})
    return dict(made.streams["s"].steps[-1].parameters)


def test_stream_names_and_keys_are_not_filled(read: Read) -> None:
    graph = read(
        """
        graph: g
        plugins: [./lang_ops]
        params: {s: other}
        streams:
          s:
            - t_files: {paths: [a]}
            - t_read
            - t_parse: {fields: {"${s}": "${s}"}}
        """
    )
    assert steps(graph) == {"fields": {"${s}": "other"}}


LISTS = """
graph: g
plugins: [./lang_ops]
params:
  paths: {type: list, default: "${DIRS:-x,y}"}
  rate: {type: rate, default: 2Hz}
  deep: {type: mapping, default: {a: 1}}
streams:
  s:
    - t_files: {paths: "${paths}"}
"""


def test_values_by_type(read: Read) -> None:
    graph = read(LISTS)
    assert steps(graph) == {"paths": ["x", "y"]}
    assert steps(graph, {"DIRS": "p, q,"}) == {"paths": ["p", "q"]}
    assert steps(graph, **read_sets(graph, ["paths=a,b"])) == {"paths": ["a", "b"]}
    assert steps(graph, **read_sets(graph, ["paths=[a, 'b,c']"])) == {"paths": ["a", "b,c"]}
    assert steps(graph, paths=(Path("a"),) and ["a"]) == {"paths": ["a"]}
    assert read_sets(graph, ["deep={b: [1]}", "rate=60/min"]) == {"deep": {"b": [1]}, "rate": "60/min"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path=a", "--set path: unknown parameter 'path' of graph 'g', did you mean 'paths'?"),
        ("zzz=a", "--set zzz: unknown parameter 'zzz' of graph 'g'; it declares 'paths', 'rate', 'deep'"),
        ("paths", "--set: must be written name=value"),
        ("deep=3", "--set deep: must be a mapping; got 3"),
        ("deep={", "--set deep: must be a YAML list or mapping; got '{'"),
        ("rate=soon", "--set rate: rate must be hertz above 0 or a text such as '0.75Hz', '60/min' or '1000/day'"),
    ],
)
def test_wrong_sets(text: str, message: str, read: Read) -> None:
    with pytest.raises(GraphError) as caught:
        read_sets(read(LISTS), [text])
    assert str(caught.value).startswith(message)
    with pytest.raises(GraphError) as caught:
        read(LISTS, sets=[text])
    assert message in str(caught.value)


def test_wrong_values_from_python(read: Read) -> None:
    with pytest.raises(GraphError, match=r"^parameter 'paths': must be a list; got 'a'$"):
        plan(read(LISTS), {"paths": "a"}, {})
    with pytest.raises(GraphError, match=r"^unknown parameter 'paht' of graph 'g', did you mean 'paths'\?$"):
        plan(read(LISTS), {"paht": "a"}, {})


def test_choices(read: Read) -> None:
    text = LISTS.replace("deep: {type", "mode: {type: str, default: auto, choices: [auto, fast]}\n  deep: {type")
    graph = read(text)
    assert read_sets(graph, ["mode=fast"]) == {"mode": "fast"}
    with pytest.raises(
        GraphError, match=r"^--set mode: must be one of 'auto', 'fast'; got 'fats', did you mean 'fast'\?$"
    ):
        read_sets(graph, ["mode=fats"])


def test_required_parameter(read: Read) -> None:
    graph = read(LISTS.replace('default: "${DIRS:-x,y}"', "required: true"))
    assert graph.params["paths"] == Param("list", None, "", required=True)
    with pytest.raises(GraphError, match=r"^g\.yaml:5:10: params: paths: must be set; use --set paths=…"):
        plan(graph, {}, {})
    assert steps(graph, paths=["z"]) == {"paths": ["z"]}


SEND = """
graph: g
plugins: [./lang_ops]
params:
  key: {type: secret, default: {env: KEY}}
  url: "https://${HOST}/x"
streams:
  s:
    - t_files: {paths: [a]}
    - t_read
    - t_parse
    - t_send: {key: "${key}", url: "${url}?k=${key}", tries: %s}
"""
ENVIRON = {"KEY": SECRET, "HOST": "host-name", "TRIES": "3", "NUMERIC": "123456789"}


def test_secrets_reach_the_operator_and_nothing_else(read: Read) -> None:
    graph = read(SEND % '"${TRIES}"', environ=ENVIRON)
    made = plan(graph, {}, ENVIRON)
    parameters = made.streams["s"].steps[-1].parameters
    assert parameters["key"].get_secret_value() == SECRET
    assert parameters["url"] == f"https://host-name/x?k={SECRET}"
    assert parameters["tries"] == 3
    shown = [repr(made.values), *(step.fingerprint for step in made.streams["s"].steps), graph.to_yaml()]
    shown += [show(made, form) for form in ("text", "mermaid", "dot", "svg")]
    assert not any(SECRET in text or "host-name" in text for text in shown)


def test_an_environment_number_is_a_text_where_a_text_is_wanted(read: Read) -> None:
    graph = read(
        (SEND % "1").replace('"${url}?k=${key}"', '"${NUMERIC}"').replace('"${key}"', '"${NUMERIC}"'), environ=ENVIRON
    )
    parameters = steps(graph, ENVIRON)
    assert parameters["url"] == "123456789"
    assert parameters["key"].get_secret_value() == "123456789"


@pytest.mark.parametrize("tries", ["${KEY}", "${key}", "a ${KEY}", '["${KEY}"]', '{x: "${key}"}'])
def test_no_message_shows_a_hidden_value(tries: str, read: Read) -> None:
    with pytest.raises(GraphError) as caught:
        read(SEND % tries, environ=ENVIRON)
    text = str(caught.value)
    assert not any(SECRET[start : start + 5] in text for start in range(len(SECRET) - 5))
    assert "${" in text
    assert "tries" in text


def test_no_expression_error_quotes_a_hidden_value(read: Read) -> None:
    text = (SEND % "1") + "    - t_where: ${KEY}(\n    - t_where: x > ${KEY} +\n"
    with pytest.raises(GraphError) as caught:
        read(text, environ=ENVIRON)
    assert len(caught.value.problems) == 2, caught.value
    assert "secret-" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_secret_set_from_outside(read: Read) -> None:
    graph = read(SEND % "1", environ=ENVIRON)
    parameters = steps(graph, ENVIRON, **read_sets(graph, ["key=other"]))
    assert parameters["key"].get_secret_value() == "other"


def test_secret_from_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    graph = read((SEND % "1").replace("{env: KEY}", f"{{file: {tmp_path / 'key'}}}"), environ=ENVIRON)
    assert steps(graph, ENVIRON)["key"].get_secret_value() == "from-file"


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ("in-the-open", "params: key: must be a reference: {env: NAME}, {file: PATH} or ${NAME}"),
        ("{env: NOT_THERE}", "params: key: the environment has no variable 'NOT_THERE'; set it"),
        ("{file: /not/there}", "params: key: cannot read '/not/there': No such file or directory"),
        ("{file: /dev/zero}", "params: key: cannot read '/dev/zero': not a regular file"),
        ("[in-the-open]", "params: key: must be a secret: {env: NAME}, {file: PATH}, or set from outside"),
    ],
)
def test_wrong_secrets(default: str, message: str, read: Read) -> None:
    with pytest.raises(GraphError) as caught:
        read((SEND % "1").replace("{env: KEY}", default), environ=ENVIRON)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_settings_are_filled(read: Read) -> None:
    text = (
        "graph: g\nplugins: [./lang_ops]\nsettings: {checkpoint: '${EVERY}'}\nstreams: {s: [{t_files: {paths: [a]}}]}\n"
    )
    graph = read(text, environ={"EVERY": "7s"})
    assert plan(graph, {}, {"EVERY": "7s"}).settings == {"checkpoint": "7s"}
    message = [p.message for p in problems(graph, {}, {"EVERY": "hush-hush"})]
    assert len(message) == 1
    assert "hush" not in message[0]
    assert message[0].endswith("got '${EVERY}'")
    assert problems(graph, {}, {})[0].message.startswith("settings: checkpoint: variable 'EVERY' is neither")


def test_problems_of_python_graphs_have_no_place() -> None:
    found: list[Problem] = problems(Graph("g", {"s": []}), {}, {})
    assert [str(problem) for problem in found] == ["s: a stream needs at least one step; got none"]
