"""Walking watched folders: what a sweep looks at, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rxpipe.operators.files._match import Matcher
from rxpipe.operators.files._scan import Scanner
from rxpipe.operators.files._tree import Found


@pytest.fixture
def scanner(tmp_path: Path) -> Scanner:
    """One that has seen a folder with some more below, unchanged for long."""
    for path in ("a", "x/b", "x/y/c"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1")
        os.utime(tmp_path / path, (1, 1))
    for folder in (tmp_path, tmp_path / "x", tmp_path / "x" / "y"):
        os.utime(folder, (1, 1))
    made = Scanner(Matcher(["*"]), None, lambda *_: None, lambda *_: None, lambda _: False)
    made.roots = [str(tmp_path)]
    found: Found = {}
    for _ in made.scan(made.roots, found, set()):
        pass
    made.tree.reconcile(found)
    return made


def swept(scanner: Scanner, turn: int = 0, turns: int = 1) -> tuple[Found, set[str]]:
    """What a sweep finds, and which folders it vouches for."""
    found: Found = {}
    listed: set[str] = set()
    for _ in scanner.sweep(scanner.roots, found, listed, turn, turns):
        pass
    return found, listed


def test_a_sweep_looks_once_at_each_path_and_lists_nothing(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = os.stat

    def stat(path: str, **options: Any) -> os.stat_result:
        looked.append(path)
        return look(path, **options)

    def scandir(path: str) -> None:
        pytest.fail(f"listed {path}")

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "scandir", scandir)
    found, listed = swept(scanner)
    monkeypatch.undo()
    folders = {str(tmp_path), str(tmp_path / "x"), str(tmp_path / "x" / "y")}
    assert (found, listed) == ({}, folders)
    assert sorted(looked) == sorted([*folders, *scanner.tree.files])


def test_a_sweep_lists_only_the_folder_where_something_came(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x" / "new").write_text("1")
    os.utime(tmp_path / "x", (2, 2))
    lists: list[str] = []
    scandir = os.scandir

    def noted(path: str) -> Any:
        lists.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    found, _ = swept(scanner)
    assert lists == [str(tmp_path / "x")]
    assert list(found) == [str(tmp_path / "x" / "new")]


def test_a_folder_that_changed_a_moment_ago_is_listed_again(scanner: Scanner, tmp_path: Path) -> None:
    (tmp_path / "x" / "new").write_text("1")
    swept(scanner)
    assert scanner.folders[str(tmp_path / "x")].mtime_ns == -1, "a later change could get the same time"
    assert scanner.folders[str(tmp_path / "x" / "y")].mtime_ns == 1_000_000_000


def test_sweeps_share_what_is_quiet(scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    look = os.stat

    def stat(path: str) -> os.stat_result:
        looked.append(path)
        return look(path)

    monkeypatch.setattr(os, "stat", stat)
    each = list[set[str]]()
    for turn in range(6):
        looked.clear()
        assert swept(scanner, turn, 6) == ({}, set(scanner.folders))
        each.append({*looked})
    assert sorted(path for paths in each for path in paths) == sorted([*scanner.folders, *scanner.tree.files])
    assert max(map(len, each)) == 2
    os.utime(tmp_path / "x")
    os.utime(tmp_path / "a")
    found, _ = swept(scanner)
    scanner.tree.reconcile(found)
    for turn in range(6):
        looked.clear()
        swept(scanner, turn, 6)
        assert {str(tmp_path / "x"), str(tmp_path / "a")} <= {*looked}, "what changed lately is looked at each time"


def test_what_left_one_folder_is_looked_for_in_all(scanner: Scanner, tmp_path: Path) -> None:
    os.rename(tmp_path / "x" / "b", tmp_path / "x" / "y" / "moved")
    os.utime(tmp_path / "x", (1, 1))
    [turn] = [number for number, path in enumerate(scanner.tree.files) if path == str(tmp_path / "x" / "b")]
    found, _ = swept(scanner, turn, 6)
    assert {path: state is None for path, state in found.items()} == {
        str(tmp_path / "x" / "b"): True,
        str(tmp_path / "x" / "y" / "moved"): False,
    }
