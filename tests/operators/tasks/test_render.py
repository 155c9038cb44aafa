"""`render`: what templates make of records, what they say of those they cannot, and what they must not do."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex.subject import Subject

import rxpipe
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import GraphError, MissingExtraError, RxpipeError
from rxpipe.operators.tasks.render import render
from rxpipe.testing import TestContext


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rendered(template: str, row: dict[str, Any], **parameters: Any) -> str:
    """The text made of a record, or why there is none."""
    context, gone = TestContext(), list[Any]()
    with entered(context):
        rx.of(Batch([row])).pipe(render(template, **parameters)).subscribe(gone.append)
    return str(gone[0].rows[0]["text"]) if gone else context.errors[0].reason


def test_a_file_and_what_it_includes_are_read_once(folder: Path) -> None:
    (folder / "templates").mkdir()
    lesson, head = folder / "templates" / "lesson.md", folder / "templates" / "head.md"
    lesson.write_text("{% include 'head.md' %}{{ body }}\n")
    head.write_text("# {{ title }}\n")
    gone, source = list[Any](), Subject[Batch]()
    with entered(TestContext()):
        source.pipe(render("templates/lesson.md")).subscribe(gone.append)
    for body in ("one", "two"):
        source.on_next(Batch([{"title": "T", "body": body}]))
        lesson.write_text("changed")
        head.write_text("changed")
    assert [batch.rows[0]["text"] for batch in gone] == ["# T\none\n", "# T\ntwo\n"]


def test_what_is_missing_is_told_with_its_place(folder: Path) -> None:
    (folder / "lesson.md").write_text(
        "# {{ title }}\n\n{% for line in lines %}\n{{ line.text }} {{ autor }}{% endfor %}"
    )
    told = rendered("lesson.md", {"title": "T", "lines": [{"text": "x"}], "author": "A"})
    assert told == "TemplateFailedError: lesson.md:4: 'autor' is undefined, did you mean 'author'?"
    told = rendered("lesson.md", {"title": "T", "lines": [{"txt": "x"}], "autor": "A"})
    assert told == "TemplateFailedError: lesson.md:4: 'dict object' has no attribute 'text'"
    assert rendered("one\n{{ a.b.c }}", {"a": {}}).startswith("TemplateFailedError: <template>:2: ")


def test_what_an_included_template_misses_is_told_with_its_place(folder: Path) -> None:
    (folder / "lesson.md").write_text("{% include 'head.md' %}")
    (folder / "head.md").write_text("\n{{ title }}")
    assert rendered("lesson.md", {}).endswith("head.md:2: 'title' is undefined")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ items.append(1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{% include '../secret' %}",
        "{% include '/etc/passwd' %}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ [0] * 10000000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% for a in range(100000) %}{{ text }}{% endfor %}",
        "{% for a in range(10000000) %}{% endfor %}",
    ],
)
def test_what_a_template_must_not_do(template: str, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    told = rendered(template, {"items": [], "text": "x" * 1000}, limit="1MB")
    assert told.startswith("TemplateFailedError: "), told[:200]


def test_a_text_of_the_largest_size() -> None:
    assert rendered("{{ 'ä' * 50 }}", {}, limit=100) == "ä" * 50
    assert rendered("{{ 'ä' * 51 }}", {}, limit=100).endswith("the text must have at most 100 bytes; got more")


def test_a_template_that_is_none(folder: Path) -> None:
    (folder / "bad.md").write_text("\n{% for %}")
    for template, place in (("bad.md", "bad.md:2"), ("\n{% for %}", "line 2: ")):
        with pytest.raises(RxpipeError, match=place):
            rx.of(Batch([{}])).pipe(render(template)).run()


def test_a_file_that_is_missing_is_told_at_the_check(folder: Path) -> None:
    (folder / "lesson.md").write_text("x")
    text = "graph: g\nstreams:\n  a:\n    - list_files: [.]\n    - render: {template: leson.md}\n"
    with pytest.raises(GraphError, match=r"data file 'leson.md' must exist.*did you mean 'lesson.md'"):
        rxpipe.load_text(text)


def test_jinja2_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("jinja2"):
            raise ImportError("No module named 'jinja2'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"needs the package 'jinja2'.*pip install 'rxpipe-graphs\[batch\]'"):
        rx.of(Batch([{}])).pipe(render("{{ a }}")).run()
