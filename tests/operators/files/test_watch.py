"""`watch`: events of real files, found by polling under virtual time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rxpipe.operators.files._paths import WatchedPaths
from rxpipe.operators.files.watch import watch
from rxpipe.testing import TestContext
from rxpipe.testing.doubles import Notifications


def test_first_scan_is_sorted_and_known_then_each_change_comes_once(start: Any, logs: Path) -> None:
    for name in ("b", "a", "c"):
        (logs / name).write_text("1\n")
    session = start()
    assert session.events(0) == ["create a known", "create b known", "create c known"]
    assert session.events() == []
    with (logs / "a").open("a") as file:
        file.write("2\n")
    (logs / "d").write_text("1\n")
    event_a, event_d = session.look()
    assert (event_a.kind, event_a.old.size, event_a.new.size) == ("modify", 2, 4)
    assert (event_d.kind, event_d.old, event_d.new.size, event_d.known) == ("create", None, 2, False)
    assert session.events() == []
    (logs / "a").write_text("3\n")
    (logs / "b").unlink()
    assert session.events() == ["delete b", "truncate a"]


def test_another_file_under_the_same_name_is_a_replacement(start: Any, logs: Path, tmp_path: Path) -> None:
    (logs / "a").write_text("1\n")
    session = start()
    session.look(0)
    (tmp_path / "new").write_text("2\n")
    (tmp_path / "new").rename(logs / "a")
    (event,) = session.look()
    assert event.kind == "replace"
    assert event.old.inode != event.new.inode


def test_a_rotation_is_renames_and_a_creation(start: Any, logs: Path) -> None:
    for name in ("x.log", "x.log.1", "x.log.2"):
        (logs / name).write_text(name)
    session = start()
    session.look(0)
    (logs / "x.log.2").unlink()
    (logs / "x.log.1").rename(logs / "x.log.2")
    (logs / "x.log").rename(logs / "x.log.1")
    (logs / "x.log").write_text("new\n")
    assert session.events() == [
        "delete x.log.2",
        "rename x.log.1 -> x.log.2",
        "rename x.log -> x.log.1",
        "create x.log",
    ]


def test_two_files_that_change_places(start: Any, logs: Path) -> None:
    (logs / "a").write_text("a")
    (logs / "b").write_text("b")
    session = start()
    session.look(0)
    (logs / "a").rename(logs / "t")
    (logs / "b").rename(logs / "a")
    (logs / "t").rename(logs / "b")
    assert sorted(session.events()) == ["rename a -> b", "rename b -> a"]
    assert session.events() == []


def test_a_rename_over_a_watched_file_deletes_that(start: Any, logs: Path) -> None:
    (logs / "a").write_text("a")
    (logs / "b").write_text("b")
    session = start()
    session.look(0)
    (logs / "a").rename(logs / "b")
    assert session.events() == ["delete b", "rename a -> b"]


def test_moves_between_folders_in_and_out(start: Any, logs: Path, tmp_path: Path) -> None:
    (logs / "one" / "deep").mkdir(parents=True)
    (logs / "two").mkdir()
    (logs / "one" / "deep" / "f").write_text("f")
    session = start()
    session.look(0)
    (logs / "one" / "deep").rename(logs / "two" / "deep")
    assert session.events() == ["rename one/deep/f -> two/deep/f"]
    (logs / "two" / "deep" / "f").rename(tmp_path / "f")
    assert session.events() == ["delete two/deep/f"]
    (tmp_path / "f").rename(logs / "f")
    assert session.events() == ["create f"]


def test_a_folder_that_appears_later_and_one_that_goes(start: Any, logs: Path) -> None:
    session = start()
    assert session.events() == []
    (logs / "a" / "b").mkdir(parents=True)
    (logs / "a" / "b" / "f").write_text("f")
    assert session.events() == ["create a/b/f"]
    (logs / "a" / "b" / "f").unlink()
    (logs / "a" / "b").rmdir()
    (logs / "a").rmdir()
    assert session.events() == ["delete a/b/f"]
    assert session.context.details["watch"]()["folders"] == 1


def test_a_path_that_does_not_exist_yet_is_warned_of_once_and_found(
    start: Any, logs: Path, warnings: list[str]
) -> None:
    session = start(paths=[str(logs / "later" / "deep")])
    assert session.events(3) == []
    assert [text for text in warnings if "does not exist" in text] == [
        f"test: {logs}/later/deep does not exist; waiting for it"
    ]
    (logs / "later" / "deep").mkdir(parents=True)
    (logs / "later" / "deep" / "f").write_text("f")
    assert session.events() == ["create later/deep/f"]


def test_a_single_file_is_watched_whatever_the_patterns(start: Any, logs: Path) -> None:
    (logs / "a.txt").write_text("a")
    (logs / "b.txt").write_text("b")
    session = start(paths=[str(logs / "a.txt")], patterns=["*.log"])
    assert session.events(0) == ["create a.txt known"]
    (logs / "a.txt").unlink()
    assert session.events() == ["delete a.txt"]
    (logs / "a.txt").write_text("again")
    assert session.events() == ["create a.txt"]


def test_patterns_ignored_and_hidden(start: Any, logs: Path) -> None:
    for name in ("a.jsonl", "b.txt", ".h.jsonl", "skip/c.jsonl", ".hid/d.jsonl", "sub/e.jsonl", "sub/x/f.jsonl"):
        (logs / name).parent.mkdir(exist_ok=True, parents=True)
        (logs / name).write_text("1")
    common = {"patterns": ["*.jsonl"], "ignore": ["skip", "sub/x/*"]}
    assert start(**common).events(0) == ["create a.jsonl known", "create sub/e.jsonl known"]
    found = start(**common, hidden=True).events(0)
    assert found == [f"create {name} known" for name in (".h.jsonl", ".hid/d.jsonl", "a.jsonl", "sub/e.jsonl")]


def test_a_hidden_root_is_entered(start: Any, logs: Path) -> None:
    (logs / ".claude").mkdir()
    (logs / ".claude" / "f").write_text("f")
    assert start(paths=[str(logs / ".claude")]).events(0) == ["create .claude/f known"]


def test_home_and_relative_paths(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (logs / "f").write_text("f")
    monkeypatch.setenv("HOME", str(logs.parent))
    monkeypatch.chdir(logs.parent)
    assert start(paths=["~/logs"]).events(0) == ["create f known"]
    assert start(paths=["logs/."]).events(0) == ["create f known"]


def test_links_are_followed_once(start: Any, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "g").write_text("g")
    (logs / "f").write_text("f")
    (logs / "a-link").symlink_to(logs / "f")
    (logs / "hard").hardlink_to(logs / "f")
    (logs / "cycle").symlink_to(logs)
    (logs / "out").symlink_to(tmp_path / "outside")
    (logs / "nowhere").symlink_to(tmp_path / "nowhere")
    session = start()
    assert session.events(0) == ["create f known", "create out/g known"]
    assert session.events() == []
    with (logs / "hard").open("a") as file:
        file.write("more")
    assert session.events() == ["modify f"]
    (logs / "f").unlink()
    assert session.events() == ["rename f -> hard"]
    (tmp_path / "nowhere").write_text("now")
    assert "create nowhere" in session.events()


def test_a_file_with_a_second_name_lives_on_under_that(start: Any, logs: Path) -> None:
    (logs / "a").write_text("a")
    (logs / "b").hardlink_to(logs / "a")
    session = start()
    (first,) = session.events(0)
    name = first.split()[1]
    other = "b" if name == "a" else "a"
    (logs / name).unlink()
    assert session.events() == [f"rename {name} -> {other}"]
    assert session.events() == []


def test_a_link_that_is_pointed_elsewhere_is_a_replacement(start: Any, logs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    (logs / "current").symlink_to(tmp_path / "one")
    session = start()
    assert session.events(0) == ["create current known"]
    (logs / "current").unlink()
    (logs / "current").symlink_to(tmp_path / "two")
    assert session.events() == ["replace current"]


def test_files_that_are_too_large_are_left_out_and_reported_once(start: Any, logs: Path) -> None:
    (logs / "big").write_text("x" * 2000)
    (logs / "small").write_text("x")
    session = start(max_size="1KB")
    assert session.events(3) == ["create small known"]
    assert [(error.reason, session.short(error.path)) for error in session.context.errors] == [
        ("left out: 2000 bytes are more than max_size, 1000", "big")
    ]
    (logs / "big").write_text("x")
    assert session.events() == ["create big"]


def test_what_cannot_be_read_is_reported_once_and_tried_again(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "closed").mkdir()
    (logs / "closed" / "f").write_text("f")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    session = start()
    assert session.events(3) == []
    assert [(error.reason, error.path) for error in session.context.errors] == [
        ("cannot be read: Permission denied", str(logs / "closed"))
    ]
    monkeypatch.setattr(os, "scandir", scandir)
    assert session.events() == ["create closed/f"]


def test_a_folder_that_becomes_unreadable_keeps_its_files(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "f").write_text("f")
    session = start()
    session.look(0)

    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        assert session.events() == []
    assert session.events() == []
    assert len(session.context.errors) == 1


def test_paths_come_and_go_while_it_runs(start: Any, logs: Path) -> None:
    for name in ("one", "two"):
        (logs / name).mkdir()
        (logs / name / "f").write_text(name)
    paths = WatchedPaths([str(logs / "one")])
    session = start(paths=paths)
    assert session.events(0) == ["create one/f known"]
    assert session.context.details["paths"]() == [str(logs / "one")]
    paths.add(str(logs / "two"))
    paths.add(str(logs / "two"))
    assert session.events(0) == ["create two/f known"]
    session.context.details["paths"].remove(str(logs / "one"))
    assert session.events(0) == ["delete one/f"]
    with (logs / "one" / "f").open("a") as file:
        file.write("more")
    assert session.events() == []
    session.stop()
    paths.add(str(logs / "one"))
    assert session.events() == []


def test_a_root_inside_another_keeps_its_files_when_one_goes(start: Any, logs: Path) -> None:
    (logs / "in").mkdir()
    (logs / "in" / "f").write_text("f")
    paths = WatchedPaths([str(logs), str(logs / "in")])
    session = start(paths=paths)
    assert session.events(0) == ["create in/f known"]
    paths.remove(str(logs / "in"))
    assert session.events(0) == []
    paths.remove(str(logs))
    assert session.events(0) == ["delete in/f"]


def test_once_waits_for_no_path(start: Any, logs: Path, warnings: list[str]) -> None:
    start(paths=[str(logs / "later")], context=TestContext(once=True)).look(0)
    assert [text for text in warnings if "later" in text] == [f"test: {logs}/later does not exist"]


def test_once_completes_after_the_first_scan(start: Any, logs: Path) -> None:
    (logs / "f").write_text("f")
    session = start(context=TestContext(once=True))
    assert session.events(0) == ["create f known"]
    assert session.done
    assert session.context.virtual.pending == 0


def test_draining_completes(start: Any, logs: Path) -> None:
    session = start()
    session.look()
    session.context.drain()
    assert session.done
    (logs / "f").write_text("f")
    assert session.events(5) == []


def test_a_second_subscription_sees_the_same(logs: Path) -> None:
    (logs / "f").write_text("f")
    source = watch([str(logs)], backend="polling")
    for _ in range(2):
        context = TestContext(once=True)
        seen: list[Any] = []
        source.subscribe(seen.append, scheduler=context.virtual)
        context.virtual.advance_by(0)
        assert [event.kind for event in seen] == ["create"]


def test_a_burst_of_files(start: Any, logs: Path) -> None:
    session = start()
    session.look(0)
    for number in range(100):
        (logs / f"{number:03}").write_text("x")
    assert session.events() == [f"create {number:03}" for number in range(100)]


@pytest.mark.parametrize(("kind", "polled"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False)])
def test_a_file_system_without_notifications_is_polled(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, polled: bool
) -> None:
    from rxpipe.operators.files import _notify, _watcher

    original = _notify.silent_filesystem
    mounts = logs.parent / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver:/x {logs} {kind} rw 0 0\n")
    monkeypatch.setattr(_watcher, "silent_filesystem", lambda path: original(path, str(mounts)))
    session = start(backend="auto")
    session.look(0)
    status = session.context.details["watch"]()
    assert status["backend"] == ("inotify and polling" if polled else "inotify")
    if polled:
        assert status["reason"] == f"file system {kind} does not notify"
        (logs / "f").write_text("f")
        assert session.events() == ["create f"]


def test_without_notifications_it_polls_and_says_why(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    from watchdog.observers import inotify_c

    monkeypatch.delattr(inotify_c, "inotify_init")
    session = start(backend="auto")
    (logs / "f").write_text("f")
    assert session.events(2) == ["create f known"]
    status = session.context.details["watch"]()
    assert status["backend"] == "polling"
    assert "inotify_init" in status["reason"]
    assert any("polling every 1 s: no inotify" in text for text in warnings)


@pytest.mark.parametrize("last", ["x.log", "x.log.1"])
def test_files_of_a_log_that_were_written_to_are_told_in_the_order_of_change(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    names = ["x.log", "x.log.1"]
    context, told = TestContext(), Notifications()
    monkeypatch.setattr(context, "notifier", told.notifier)
    for name in names:
        (logs / name).write_text("1\n")
    session = start(context=context, backend="auto")
    assert len(session.events(0)) == 2
    for name in names:
        (logs / name).write_text("1\n2\n")
        os.utime(logs / name, (1, 2 if name == last else 1))
    told.tell({str(logs / name): None for name in names}.keys())  # type: ignore[arg-type]  # a set, in an order
    assert session.events(0) == [f"modify {name}" for name in sorted(names, key=last.__eq__)]


def test_the_limit_of_watches_leads_to_polling(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    import ctypes
    import errno

    from watchdog.observers import inotify_c

    added = inotify_c.inotify_add_watch

    def full(fd: int, path: bytes, mask: int) -> int:
        if path.endswith(b"sub"):
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return added(fd, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", full)
    session = start(backend="auto")
    session.look(0)
    assert session.context.details["watch"]()["backend"] == "inotify"
    (logs / "sub").mkdir()
    (logs / "sub" / "f").write_text("f")
    assert session.events(10) == ["create sub/f"]
    assert session.context.details["watch"]()["backend"] == "polling"
    assert any("max_user_watches" in text for text in warnings)
    (logs / "g").write_text("g")
    assert session.events(1) == ["create g"]
