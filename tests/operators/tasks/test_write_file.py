"""`write_file`: whole files, in their folder only, once for each record."""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph
from rxpipe.operators.tasks import _files
from rxpipe.operators.tasks._names import NameOfFileError, Names, safe
from rxpipe.operators.tasks.write_file import write_file
from rxpipe.private import replacing as replacing_really
from rxpipe.tasks.attempt import Attempt
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.store import Claimed
from rxpipe.testing import TestContext


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*rows: dict[str, Any], leases: Any = (), **parameters: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The records passed on, and the reasons of those rejected."""
    context, gone = TestContext(), list[Any]()
    with entered(context):
        rx.of(Batch([*rows], leases=leases)).pipe(write_file(**parameters)).subscribe(gone.append)
        context.virtual.advance_by(1)
    return [row for batch in gone for row in batch.rows], [error.reason for error in context.errors]


def test_bytes_and_expressions() -> None:
    gone, errors = write({"name": "a", "data": {"raw": b"\xff\0"}}, to="{name}.bin", content="data.raw")
    assert errors == []
    assert gone == [{"name": "a", "data": {"raw": b"\xff\0"}, "written": "a.bin"}]
    assert Path("a.bin").read_bytes() == b"\xff\0"


def test_the_last_record_of_a_file_stays() -> None:
    gone, _ = write(*({"n": 1, "text": str(n)} for n in range(20)), to="out/{n}")
    assert len(gone) == 20
    assert Path("out/1").read_text() == "19"
    assert os.listdir("out") == ["1"]


@pytest.mark.parametrize(
    ("exists", "files"), [("keep", {"a": "old"}), ("number", {"a": "old", "a-2": "1", "a-3": "2"})]
)
def test_what_is_there(exists: str, files: dict[str, str]) -> None:
    Path("a.md").write_text("old")
    gone, _ = write({"text": "1"}, {"text": "2"}, to="a.md", on_exists=exists)
    assert {file.stem: file.read_text() for file in Path().iterdir()} == files
    assert [row["written"] for row in gone] == (["a.md"] * 2 if exists == "keep" else ["a-2.md", "a-3.md"])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"f": "../up"}, "without '/' and control characters; got '../up'"),
        ({"f": ".."}, "got '..'"),
        ({"f": "/etc/passwd"}, "got '/etc/passwd'"),
        ({"f": "a\0b"}, "control characters"),
        ({"f": "a\nb"}, "control characters"),
        ({"f": "a\u202eb"}, "control characters"),
        ({"f": "\ud800"}, "control characters"),
        ({"f": "ä" * 200}, "at most 255 bytes"),
        ({"f": ""}, "must be a text or a whole number; got ''"),
        ({"f": 1.5}, "must be a text or a whole number; got 1.5"),
        ({"f": ["a"]}, r"must be a text or a whole number; got \['a'\]"),
        ({"g": "a"}, "'to' needs the field 'f', which the record does not have"),
    ],
)
def test_names_that_are_refused(row: dict[str, Any], reason: str, folder: Path) -> None:
    with pytest.raises(NameOfFileError, match=reason):
        Names("out/{f}").path(row, 0)
    gone, errors = write(row | {"text": "x"}, {"f": "good", "text": "y"}, to="out/{f}")
    assert [row["f"] for row in gone] == ["good"]
    assert len(errors) == 1
    assert errors[0].startswith("NameOfFileError: ")
    assert [str(path.relative_to(folder)) for path in folder.rglob("*")] == ["out", "out/good"]


@pytest.mark.parametrize("to", ["", "out/", "a\0b", "{", "{a", "{a.b}", "{a!r}", "{a:>9}", "{0}", "{}"])
def test_patterns_that_are_refused(to: str) -> None:
    with pytest.raises(RxpipeError, match="to: must"):
        write_file(to)


def test_links_do_not_lead_out(folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (folder / "out").mkdir()
    (folder / "out" / "sub").symlink_to(outside)
    (outside / "target").write_text("mine")
    (folder / "out" / "link.md").symlink_to(outside / "target")
    (folder / "out" / "folder.md").mkdir()
    _, errors = write({"f": "sub", "text": "x"}, to="out/{f}/x.md")
    assert "got a link on the way that leads out of it" in errors[0]
    _, errors = write({"f": "link", "text": "x"}, {"f": "folder", "text": "x"}, to="out/{f}.md")
    assert "must be a file, or nothing; got a link" in errors[0]
    assert "must be a file, or nothing; got something else" in errors[1]
    assert os.listdir(outside) == ["target"]
    assert (outside / "target").read_text() == "mine"


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "out").symlink_to(folder / "real")
    _, errors = write({"f": "a", "text": "x"}, to="out/{f}")
    assert errors == []
    assert (folder / "real" / "a").read_text() == "x"


@given(st.text(min_size=1), st.text(min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_record_says_its_file_is_in_the_folder(folder: Path, first: str, second: str) -> None:
    try:
        path = Names("out/{a}/x{b}.md").path({"a": first, "b": second}, 0)
    except NameOfFileError:
        return
    assert Path(os.path.normpath(path)) == path
    assert path.parts[0] == "out"
    assert len(path.parts) == 3


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_keys_have_names_of_their_own(keys: list[str]) -> None:
    names = [Names("{key}.md").path({"path": key}, 0).name for key in keys]
    assert len({*names}) == 2
    assert all(len(name.encode()) <= 255 for name in names)


def test_safe_keys() -> None:
    assert safe("a-b_c.md") == "a-b_c.md"
    assert safe("/docs/a b.md").startswith("_docs_a_b.md-")
    assert len(safe("ä" * 999).encode()) <= 255 - 30


def test_a_disk_that_is_full_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    full = True

    def replacing(path: Path, **options: Any) -> Any:
        if full:
            raise OSError(28, "No space left on device")
        return replacing_really(path, **options)

    monkeypatch.setattr(_files, "replacing", replacing)
    context, gone, source = TestContext(), list[Any](), Subject[Batch]()
    with entered(context):
        source.pipe(write_file("a")).subscribe(gone.append)
        source.on_next(Batch([{"text": "x"}]))
        context.virtual.advance_by(100)
        assert gone == []
        assert "No space left on device" in context.details["degraded"]()
        full = False
        context.virtual.advance_by(100)
    assert len(gone) == 1
    assert context.errors == []
    assert Path("a").read_text() == "x"


def test_no_part_is_left_where_writing_fails(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def fsync(_: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    _, errors = write({"text": "x"}, to="a")
    assert "Invalid argument" in errors[0]
    assert [*folder.iterdir()] == []


class Remembering(Attempt):
    """An attempt at a task of which is kept what it is told."""

    def __init__(self, task: int, paid: dict[str, tuple[bytes, bytes]]) -> None:
        self.told: list[Any] = []
        super().__init__(Claimed(1, 0.0, task, f"key {task}", b"{}", None), paid, self.told.append, lambda _: None)


@pytest.mark.parametrize("parameters", [{"to": "{date}.md"}, {"to": "a.md", "on_exists": "number"}])
def test_a_task_that_is_delivered_again_comes_to_the_same_file(parameters: dict[str, Any], folder: Path) -> None:
    first = Remembering(1, {})
    [row], _ = write({"text": "x"}, leases=(first,), **parameters)
    [(_, step, request, answer)] = first.told
    again = Remembering(1, {step: (request, answer)})
    context, gone = TestContext(), list[Any]()
    context.virtual.advance_by(400_000)
    with entered(context):
        rx.of(Batch([{"text": "x"}], leases=(again,))).pipe(write_file(**parameters)).subscribe(gone.append)
        context.virtual.advance_by(1)
    assert gone[0].rows == [row]
    assert len([*folder.iterdir()]) == 1
    changed = Remembering(1, {step: (request, answer)})
    write({"text": "other"}, leases=(changed,), **parameters)
    assert len(changed.told) == 1


def test_a_numbered_file_that_was_written_just_before_a_kill_is_found_again(folder: Path) -> None:
    numbered: dict[str, Any] = {"to": "a.md", "on_exists": "number"}
    (folder / "a.md").write_text("of somebody else")
    [row], _ = write({"text": "x"}, leases=(Remembering(1, {}),), **numbered)  # and nobody could remember it
    [again], _ = write({"text": "x"}, leases=(Remembering(1, {}),), **numbered)
    assert (row["written"], again["written"]) == ("a-2.md", "a-2.md")
    [changed], _ = write({"text": "y"}, leases=(Remembering(1, {}),), **numbered)
    assert changed["written"] == "a-3.md"
    record, _ = write({"text": "x"}, **numbered)
    assert record[0]["written"] == "a-4.md", "what is no task has no file of its own"


def test_tasks_of_the_same_content_have_each_its_own_numbered_file(tmp_path: Path) -> None:
    def run(*numbers: int) -> None:
        source = rx.of(Batch([{"n": number, "text": "same"} for number in numbers]))
        steps = [source, ops.tasks("n", store="t.sqlite"), write_file("out/a.md", on_exists="number")]
        with Graph("numbered", {"main": steps}).run(once=True, state=False) as made:
            made.wait()

    run(1, 2)
    run(3)
    assert sorted(os.listdir("out")) == ["a-2.md", "a-3.md", "a.md"]
    Tasks("t.sqlite").requeue(["1", "2", "3"])
    run(1)
    assert sorted(os.listdir("out")) == ["a-2.md", "a-3.md", "a.md"]


def test_two_tasks_with_one_file_are_told_of() -> None:
    lines: list[str] = []
    number = logger.add(lambda text: lines.append(text.strip()), format="{message}")
    context, source = TestContext(), Subject[Batch]()
    with entered(context):
        source.pipe(write_file("a.md")).subscribe()
        for task in (1, 1, 2):
            source.on_next(Batch([{"text": "x"}], leases=(Remembering(task, {}),)))
            context.virtual.advance_by(1)
    logger.remove(number)
    assert lines == ["test: several tasks are written to a.md; put {key} into 'to', or say 'on_exists: number'"]


class Holding(Executor):
    """Keeps what it was given, as a thread does for a moment after the call is over."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.kept.append((fn, args, kwargs))
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_a_thread_does_not_hold_a_task_whose_result_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, outcomes, seen = Holding(), list[Any](), list[Any]()
    monkeypatch.setattr(TestContext, "executor", lambda _: threads)
    attempt = Attempt(Claimed(1, 0.0, 1, "1", b"", None), {}, lambda _: None, outcomes.append)
    batch = Batch([{"text": "1"}], leases=(attempt,))
    del attempt
    context, source = TestContext(), Subject[Any]()
    with entered(context):
        subscription = source.pipe(write_file(to="a.md")).subscribe(lambda made: seen.append(len(made.rows)))
    source.on_next(batch)
    del batch
    context.virtual.advance_by(1)
    assert (len(threads.kept), seen, len(outcomes)) == (1, [1], 1), "a checkpoint must not come between these two"
    subscription.dispose()
