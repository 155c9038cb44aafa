"""Hostile file trees, and what is written: private, and never outside its folder."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given, settings
from hypothesis import strategies as st

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import GraphError
from rxpipe.language.config import load_text
from rxpipe.operators.flow._spool import Spool
from rxpipe.runtime.state import StateFile
from rxpipe.testing import TestContext

NAMES = st.one_of(
    st.sampled_from([b"a.log", b"\n", b" ", b"-", b"*", b"[", b"\xff\xfe", b"\x1b[2J", b"%s", b"a" * 255, b"'\""]),
    st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name and b"/" not in name),
).filter(lambda name: not name.startswith(b"."))  # which a pattern must name


def read_all(folder: bytes | str) -> tuple[dict[str, bytes], TestContext]:
    """What `watch` and `read_lines` read of a folder, once."""
    context = TestContext(once=True)
    seen: list[Any] = []
    with entered(context):
        source = ops.watch([os.fsdecode(folder)], patterns=["*"])
        source.pipe(ops.read_lines()).subscribe(seen.append, scheduler=context.virtual)
        for _ in range(20):
            context.virtual.advance_by(1)
    read: dict[str, bytes] = {}
    for element in seen:
        if isinstance(element, LineDelta):
            read[element.path] = read.get(element.path, b"") + element.data
    return read, context


@settings(deadline=None)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=6, unique_by=lambda path: path[0]))
def test_whatever_files_are_called(paths: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(folder)
        for number, names in enumerate(paths):
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                os.makedirs(os.path.join(root, *names[:-1]), exist_ok=True)
                with open(os.path.join(root, *names), "xb") as file:
                    file.write(b"line %d\n" % number)
        expected = {
            os.fsdecode(os.path.join(base, name)): Path(os.fsdecode(os.path.join(base, name))).read_bytes()
            for base, _, names in os.walk(root)
            for name in names
        }
        read, context = read_all(root)
        assert read == expected
        assert not context.errors


def test_names_that_are_no_utf8_go_through_states_errors_and_dead_letters(tmp_path: Path) -> None:
    name = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"logs", b"\xff.jsonl"))
    os.makedirs(os.path.dirname(name))
    Path(name).write_text('{"a": 1}\nno JSON\n')
    graph = load_text(f"""
graph: odd
streams:
  records:
    - watch: {{paths: ["{tmp_path}/logs"]}}
    - read_lines
    - parse_json: {{fields: {{a: a, path: "@path"}}}}
  sums: [{{from: records}}, {{aggregate: {{by: [path], n: count()}}}}, {{pivot: {{on: path, value: sum(n)}}}}, changes]
  dead: [{{from: errors}}, {{to_dead_letters: "{tmp_path}/dead"}}]
  errors_too: [{{from: errors}}, {{to_jsonl: "{tmp_path}/errors"}}]
""")
    for _ in range(2):  # the second finds the state of the first
        with graph.run(once=True, state=str(tmp_path / "state.sqlite")) as run:
            run.wait()
        assert run.status().state == "done"
    for file in ("dead", "errors"):
        [line] = (tmp_path / file).read_text().splitlines()
        assert loads(line)["path"] == f"{tmp_path}/logs/\\udcff.jsonl"


def test_loops_and_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("a\n")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    folder = tmp_path / "deep"
    for _ in range(100):
        folder /= "d"
    folder.mkdir(parents=True)
    (folder / "b.log").write_text("b\n")
    read, _ = read_all(str(tmp_path))
    assert sorted(Path(path).name for path in read) == ["a.log", "b.log"]


@pytest.fixture(params=[0o000, 0o022])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


METRICS: Any = {"n": {"type": "counter"}}
SINKS: dict[str, Any] = {
    "to_jsonl": lambda folder: ops.to_jsonl(f"{folder}/out.jsonl"),
    "write_lines": lambda folder: ops.write_lines(f"{folder}/out.log", max_size=4, keep=9, compress="gzip"),
    "to_csv": lambda folder: ops.to_csv(f"{folder}/out.csv"),
    "to_sqlite": lambda folder: ops.to_sqlite(f"{folder}/out.sqlite", "t"),
    "to_parquet": ops.to_parquet,
    "to_plot": lambda folder: ops.to_plot(f"{folder}/out.svg", y=["n"]),
    "to_prometheus": lambda folder: ops.to_prometheus(METRICS, path=f"{folder}/n.prom"),
}


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("name", [*SINKS])
def test_what_sinks_write_is_private(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    context = TestContext()
    with entered(context):
        step = SINKS[name](str(folder))
        batches = [Batch([{"n": 1}]), Batch([{"n": 2}])]
        subscription = rx.concat(rx.from_iterable(batches), rx.never()).pipe(step).subscribe(scheduler=context.virtual)
        context.virtual.advance_by(600)
        context.checkpoint()
        context.virtual.advance_by(1)
        found = [folder, *folder.rglob("*")]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in found}
        subscription.dispose()
    assert modes.pop("out") == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert set(modes.values()) <= {0o600}
    assert modes or name == "to_parquet"  # whose few records still wait for others


@pytest.mark.usefixtures("_umask")
def test_state_and_what_waits_on_disk_are_private(tmp_path: Path) -> None:
    opened = StateFile(tmp_path / "state" / "rxpipe" / "g.sqlite")
    opened.adopt("g", "f")
    spool = Spool(tmp_path / "state" / "spool", 100, None, keep=True)
    spool.append(b"text")
    for path in (tmp_path / "state").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    spool.close()
    opened.close()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0b", "x" * 300, "..", "~/x"])
def test_the_files_of_a_test_stay_in_its_folder(name: str, tmp_path: Path) -> None:
    text = f"""\
graph: g
streams:
  s: [{{watch: {{paths: [.]}}}}, read_lines, parse_json]
tests:
  - {{name: t, files: {{{dumps(name)}: "x"}}, expect: {{s: "-"}}}}
"""
    with pytest.raises(GraphError, match="a file's name must be a path below the test's folder"):
        load_text(text, folder=tmp_path, tests=True)


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/b", ".", "", "a\0", "x" * 300])
def test_the_name_of_a_graph_names_no_other_folder(name: str) -> None:
    with pytest.raises(GraphError, match=r"^<text>:1:8: a graph's name is made of|'graph: NAME' is missing"):
        load_text(f"graph: {dumps(name)}\nstreams: {{s: [interval: 1s]}}\n")
