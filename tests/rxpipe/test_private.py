"""Folders and files that only the user can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rxpipe.private import LONGEST_SECRET, make_folder, replacing, secret_in


@pytest.fixture(params=[0o000, 0o022, 0o077], autouse=True)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders_that_are_missing_are_made(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    before = mode(there)
    make_folder(there / "a" / "b")
    make_folder(there / "a" / "b")
    assert [mode(there), mode(there / "a"), mode(there / "a" / "b")] == [before, 0o700, 0o700]
    (there / "file").touch()
    with pytest.raises(OSError, match=r"exists|directory"):
        make_folder(there / "file")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert (path.read_bytes(), mode(path)) == (b"one", 0o600)
    path.chmod(0o640)
    with replacing(path) as file:
        file.write(b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o640)
    with pytest.raises(ZeroDivisionError):
        with replacing(path) as file:
            file.write(b"three")
            raise ZeroDivisionError
    assert path.read_bytes() == b"two"
    assert [*tmp_path.iterdir()] == [path]


def test_a_name_that_leaves_no_room(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with replacing(path) as file:
        file.write(b"long")
    assert path.read_bytes() == b"long"


def test_what_a_killed_process_left_is_taken_up(tmp_path: Path) -> None:
    path, left = tmp_path / "a.txt", tmp_path / ".a.txt.part"
    left.write_text("half of something that is longer than what comes")
    with replacing(path) as file:
        file.write(b"whole")
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (b"whole", [path])


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        first.write(b"first")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (b"first", [path])


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "a.txt", tmp_path / "elsewhere"
    (tmp_path / ".a.txt.part").symlink_to(elsewhere)
    with replacing(path) as file:
        file.write(b"whole")
    assert (path.read_bytes(), elsewhere.exists()) == (b"whole", False)


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path, new=True, durable=True) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), replacing(path, new=True) as file:
        file.write(b"second")
    assert path.read_bytes() == b"first"
    assert [*tmp_path.iterdir()] == [path]


def test_a_durable_file_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = list[list[str]](), os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(sorted(path.suffix for path in tmp_path.iterdir()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "a.md", durable=True) as file:
        file.write(b"text")
    assert synced == [[".part"], [".md"]], "the file, then the folder"


def test_what_holds_no_secret_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (LONGEST_SECRET + 1))
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "good").write_text(" secret\n")
    for name, reason in {
        "pipe": "not a regular file",
        "large": "more than 100,000 bytes",
        "latin": "not a text file",
        "none": "No such file or directory",
    }.items():
        with pytest.raises(ValueError, match=f"cannot read '.*{name}': {reason}"):
            secret_in(str(tmp_path / name))
    assert secret_in(str(tmp_path / "good")) == "secret"
