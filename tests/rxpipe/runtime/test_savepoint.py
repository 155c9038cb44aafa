"""Savepoints, of runs that go on and of runs that have ended, and what goes back to them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import rxpipe
from rxpipe.cli import main
from rxpipe.errors import StateError
from rxpipe.runtime.adoption import spool_of
from rxpipe.runtime.savepoint import go_back
from rxpipe.runtime.state import StateFile
from tests.faults.harness import until
from tests.rxpipe.runtime.changing import HEAD, KEPT, RECORDS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One that has run over ten records."""
    made = World(tmp_path)
    made.write(10)
    made.run(RECORDS, KEPT)
    return made


def test_a_run_goes_back_to_it_and_its_sinks_too(world: World) -> None:
    saved = world.folder / "deep" / "saved"
    rxpipe.savepoint(world.state, saved)
    assert saved.stat().st_mode & 0o077 == 0
    assert saved.parent.stat().st_mode & 0o077 == 0
    assert [path.name for path in saved.parent.iterdir()] == ["saved"], "it is one file"
    world.write(5)
    world.run(RECORDS, KEPT)
    (world.folder / "logs" / "a.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in [*range(10), 77]))
    for _ in range(2):
        world.run(RECORDS, KEPT, from_savepoint=saved)
        assert world.lines() == [*range(10), 77]


def test_it_is_the_state_of_another_file_too(world: World) -> None:
    saved = world.folder / "saved"
    rxpipe.savepoint(world.state, saved)
    world.state.unlink()
    world.write(1)
    world.run(RECORDS, KEPT, from_savepoint=saved)
    assert world.lines() == [*range(11)]


def test_of_a_run_that_goes_on(world: World) -> None:
    saved, later, last = (world.folder / name for name in ("saved", "later", "last"))
    with world.graph(RECORDS, KEPT).run(state=world.state) as run:
        world.write(1)
        until(lambda: world.lines() == [*range(11)])
        run.savepoint(saved)
        world.write(1)
        until(lambda: world.lines() == [*range(12)])
        rxpipe.savepoint(world.state, later)
        with pytest.raises(StateError, match=r"must be a new file; got .*saved, which is there already"):
            run.savepoint(saved)
        world.write(1)
        until(lambda: world.lines() == [*range(13)])
    run.savepoint(last)
    for file in (later, last, saved):
        world.run(RECORDS, KEPT, from_savepoint=file)
        assert world.lines() == [*range(13)]


def test_on_the_loop_of_a_run(world: World) -> None:
    async def save() -> None:
        async with world.graph(RECORDS, KEPT).start(state=world.state) as run:
            await run.savepoint(world.folder / "saved")

    asyncio.run(save())
    world.run(RECORDS, KEPT, from_savepoint=world.folder / "saved")
    assert world.lines() == [*range(10)]


def test_of_a_run_without_state(world: World) -> None:
    with (
        world.graph(RECORDS).run(once=True) as run,
        pytest.raises(StateError, match="must keep its state in a file; got none"),
    ):
        run.savepoint(world.folder / "saved")
    with pytest.raises(StateError, match="must keep its state in a file; got none"):
        world.graph(RECORDS).run(from_savepoint=world.folder / "saved")


def test_what_is_beside_the_state_goes_with_it(world: World) -> None:
    slow = "  main: [{from: records}, {on_slow: {policy: spill}}, {to_jsonl: {path: FOLDER/main.jsonl}}]\n"
    world.run(RECORDS, KEPT + slow)
    beside = spool_of(world.state, "main[1] on_slow")
    beside.mkdir(parents=True, exist_ok=True)
    (beside / "00000000").write_bytes(b"waits")
    saved = world.folder / "saved"
    file = StateFile(world.state)
    with pytest.raises(StateError, match=r"in use by another run, process \d+"):
        rxpipe.savepoint(world.state, saved)
    file.close()
    rxpipe.savepoint(world.state, saved)
    (beside / "00000000").write_bytes(b"moved on")
    (beside / "00000001").write_bytes(b"moved on")
    opened = StateFile(world.state)
    go_back(opened, saved, world.graph(RECORDS, KEPT + slow).plan())
    opened.close()
    assert {path.name: path.read_bytes() for path in beside.iterdir()} == {"00000000": b"waits"}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "must be a file that `rxpipe state savepoint` made; got .*saved, which is not there"),
        (b"no database at all" * 100, "must be a state file that can be read"),
        ("other", "must be a state file of rxpipe; got another SQLite file"),
        ("format", "/saved: format must be 1; got 99, written by a newer version of rxpipe"),
    ],
)
def test_what_is_no_savepoint_is_refused_and_changes_nothing(world: World, content: object, match: str) -> None:
    saved = world.folder / "saved"
    if isinstance(content, bytes):
        saved.write_bytes(content)
    elif content == "other":
        with closing(sqlite3.connect(saved)) as db:
            db.execute("CREATE TABLE x (y)")
    elif content == "format":
        rxpipe.savepoint(world.state, saved)
        with closing(sqlite3.connect(saved)) as db, db:
            db.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    with pytest.raises(StateError, match=match):
        world.run(RECORDS, KEPT, from_savepoint=saved)
    world.write(1)
    world.run(RECORDS, KEPT)
    assert world.lines() == [*range(11)]


def test_that_of_another_graph_is_refused(world: World) -> None:
    saved = world.folder / "saved"
    rxpipe.savepoint(world.state, saved)
    other = rxpipe.load_text((HEAD + RECORDS).replace("FOLDER", str(world.folder)).replace("changing", "other"))
    state = world.folder / "other.db"
    with other.run(once=True, state=state) as run:
        run.wait(30)
    before = rows(state)
    assert before
    with (
        pytest.raises(StateError, match="must be of graph 'other'; got that of 'changing'"),
        other.run(state=state, from_savepoint=saved),
    ):
        pass
    assert rows(state) == before, "what does not fit changes nothing"
    assert sorted(path.name for path in world.folder.iterdir() if path.name.startswith(".")) == []


def rows(state: Path) -> list[object]:
    with closing(sqlite3.connect(state)) as db:
        return db.execute("SELECT * FROM state").fetchall()


def test_where_it_cannot_be(world: World) -> None:
    with pytest.raises(StateError, match=r"the state file must be there; got .*none.db"):
        rxpipe.savepoint(world.folder / "none.db", world.folder / "saved")
    (world.folder / "file").touch()
    with pytest.raises(StateError, match=r"must be a file that can be written; got .*file/saved"):
        rxpipe.savepoint(world.state, world.folder / "file" / "saved")


def test_commands(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    saved, graph = str(world.folder / "saved"), world.folder / "graph.yaml"
    graph.write_text((HEAD + RECORDS + KEPT).replace("FOLDER", str(world.folder)))
    assert main(["state", "savepoint", str(world.state), saved]) == 0
    assert f"`rxpipe run GRAPH --from-savepoint {saved}` goes back to it" in capsys.readouterr().out
    assert main(["state", "savepoint", str(world.state), saved]) == 1
    assert "which is there already" in capsys.readouterr().err
    world.write(1)
    run = ["run", str(graph), "--once", "--state", str(world.state)]
    assert main([*run, "--from-savepoint", saved]) == 0
    assert world.lines() == [*range(11)]
    graph.write_text(graph.read_text().replace("{dedupe: n}", "{where: n > 100}, {dedupe: n}"))
    assert main(run) == 1
    assert f"rxpipe run {graph} --reset kept" in capsys.readouterr().err
    assert main([*run, "--reset", "kept"]) == 0
    assert world.lines() == [*range(11)]
