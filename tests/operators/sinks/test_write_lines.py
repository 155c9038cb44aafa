"""`write_lines`: rotation by size and time, what becomes of old files, exactly once over restarts and kills."""

from __future__ import annotations

import errno
import gzip
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import ParameterError, RxpipeError, StateError
from rxpipe.operators.sinks._appender import Appender
from rxpipe.operators.sinks.write_lines import write_lines
from rxpipe.testing import TestContext, VirtualTimeScheduler, run_marbles
from tests.faults.harness import until


class Running:
    """A sink that is subscribed."""

    def __init__(self, path: Path, states: Sequence[Any] = (), *, at: float = 0.0, **options: Any) -> None:
        scheduler = VirtualTimeScheduler()
        scheduler.advance_to(at)
        self.context = TestContext(states, scheduler=scheduler)
        self.source: Subject[Any] = Subject()
        self.failed: Exception | None = None
        self.done = False
        with entered(self.context):
            self.subscription = self.source.pipe(write_lines(str(path), **options)).subscribe(
                lambda _: None, self._fail, self._complete, scheduler=scheduler
            )

    def _fail(self, error: Exception) -> None:
        self.failed = error

    def _complete(self) -> None:
        self.done = True

    def push(self, *numbers: int) -> None:
        self.source.on_next(Batch([{"n": number} for number in numbers]))

    def pass_time(self, seconds: float = 0.0) -> None:
        self.context.virtual.advance_by(seconds)

    def checkpoint(self) -> list[Any]:
        states = self.context.checkpoint()
        self.pass_time()
        return states

    def stop(self) -> None:
        self.subscription.dispose()


def content(folder: Path) -> dict[str, list[int]]:
    """The numbers in each file, in the order of the files' numbers."""
    found = sorted(folder.iterdir(), key=lambda path: int(path.name.split(".")[1]))
    read = {p.name: gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in found}
    return {name: [orjson.loads(line)["n"] for line in data.splitlines()] for name, data in read.items()}


def test_without_rotation_it_is_to_jsonl(tmp_path: Path) -> None:
    run = Running(tmp_path / "deep" / "out.jsonl")
    run.push(1, 2)
    run.source.on_completed()
    assert (tmp_path / "deep" / "out.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert run.done


def test_rotates_by_size_within_a_batch(tmp_path: Path) -> None:
    run = Running(tmp_path / "a.jsonl", max_size=16)
    run.push(*range(5))
    run.push(100000000000)
    run.push(5)
    assert content(tmp_path) == {
        "a.1.jsonl": [0, 1],
        "a.2.jsonl": [2, 3],
        "a.3.jsonl": [4],
        "a.4.jsonl": [100000000000],
        "a.5.jsonl": [5],
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_rotates_by_time(tmp_path: Path) -> None:
    run = Running(tmp_path / "a-%H%M.jsonl", every="10m", at=3600 + 599)
    run.push(1)
    run.push(2)
    run.pass_time(1)
    run.push(3)
    run.pass_time(3600)
    run.push(4)
    assert content(tmp_path) == {"a-0100.1.jsonl": [1, 2], "a-0110.2.jsonl": [3], "a-0210.3.jsonl": [4]}


def test_the_codes_in_a_name_are_enough(tmp_path: Path) -> None:
    run = Running(tmp_path / "%Y-%m-%d.log", at=86400 - 1)
    run.pass_time(2)
    run.push(1)  # the file of the day before was empty: it is not there any more
    run.pass_time(86400)
    run.push(2)
    assert content(tmp_path) == {"1970-01-02.2.log": [1], "1970-01-03.3.log": [2]}


def test_text(tmp_path: Path) -> None:
    run = Running(tmp_path / "a", text="who if n > 0 else [n, 1 / (n + 1)]")
    rows = [{"n": 1, "who": "a\nb\r"}, {"n": 0, "who": ""}, {"n": -1}, {"n": 1, "who": "\ud800"}, {"n": 2, "who": "é"}]
    run.source.on_next(Batch(rows, [{"n": 1, "who": "x"}]))
    assert (tmp_path / "a").read_text(encoding="utf-8") == "a\\nb\\r\n[0,1.0]\né\n"
    reasons = [error.reason.split(":")[:2] for error in run.context.errors]
    assert reasons == [
        ["a record taken back cannot be taken out of lines of text"],
        ["text", " ZeroDivisionError"],
        ["text", " UnicodeEncodeError"],
    ]


def test_text_of_lines(tmp_path: Path) -> None:
    run = Running(tmp_path / "a", text="line")
    run.source.on_next(LineDelta("f", "f", 0, 4, b"a\nb\n"))
    assert (tmp_path / "a").read_bytes() == b"a\nb\n"


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, tmp_path: Path) -> None:
    assert run_marbles(write_lines(str(tmp_path / "x"), max_size=10), source) == source


@given(
    st.lists(st.lists(st.integers(0, 10**6), max_size=4), max_size=15),
    st.lists(st.sampled_from(["next", "next", "next", "checkpoint", "crash", "restart", "hour"]), max_size=40),
    st.integers(14, 60),
    st.sampled_from([None, "gzip"]),
)
def test_exactly_once(batches: list[list[int]], actions: list[str], most: int, compress: str | None) -> None:
    """However rotations, checkpoints and crashes fall, each row is in the files once, in order, within the size."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        options: dict[str, Any] = {"max_size": most, "every": "2h", "compress": compress}
        run = Running(folder / "a-%H.jsonl", **options)
        states = run.checkpoint()
        offset = saved = 0
        for action in [*actions, *["next"] * len(batches)]:
            if action == "next" and offset < len(batches):
                run.push(*batches[offset])
                offset += 1
            elif action == "hour":
                run.pass_time(3600)
            elif action in ("checkpoint", "restart"):
                states, saved = run.checkpoint(), offset
            if action in ("crash", "restart"):
                run.stop()
                run, offset = Running(folder / "a-%H.jsonl", states, at=run.context.now(), **options), saved
        run.stop()
        found = content(folder)
        sizes = [path.stat().st_size for path in folder.iterdir() if path.suffix != ".gz"]
    assert [number for numbers in found.values() for number in numbers] == [n for batch in batches for n in batch]
    assert max(sizes, default=0) <= most
    numbers = [int(name.split(".")[1]) for name in found]
    assert len(set(numbers)) == len(numbers)


def test_old_files_are_cared_for_once_a_checkpoint_is_behind_them(tmp_path: Path) -> None:
    run = Running(tmp_path / "a.jsonl", max_size=8, keep=2, compress="gzip")
    states = run.checkpoint()
    run.push(*range(6))
    run.pass_time(1)
    assert list(content(tmp_path)) == [f"a.{number}.jsonl" for number in range(1, 7)]  # a crash goes back to the first
    states = run.checkpoint()
    assert content(tmp_path) == {"a.4.jsonl.gz": [3], "a.5.jsonl.gz": [4], "a.6.jsonl": [5]}
    run.push(6)
    run.stop()
    again = Running(tmp_path / "a.jsonl", states, max_size=8, keep=2, compress="gzip")
    assert list(content(tmp_path)) == ["a.4.jsonl.gz", "a.5.jsonl.gz", "a.6.jsonl"]
    again.push(7)
    again.checkpoint()
    assert content(tmp_path) == {"a.5.jsonl.gz": [4], "a.6.jsonl.gz": [5], "a.7.jsonl": [7]}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_compression_that_was_killed_leaves_nothing_twice(tmp_path: Path) -> None:
    run = Running(tmp_path / "a.jsonl", max_size=8)
    run.push(1, 2, 3)
    states = run.checkpoint()
    run.stop()
    (tmp_path / "a.1.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.1.jsonl").read_bytes()))
    (tmp_path / ".a.2.jsonl.gz.part").write_bytes(b"half")
    Running(tmp_path / "a.jsonl", states, max_size=8)
    assert content(tmp_path) == {"a.1.jsonl.gz": [1], "a.2.jsonl": [2], "a.3.jsonl": [3]}


def test_a_new_run_goes_on_behind_the_last_number(tmp_path: Path) -> None:
    (tmp_path / "a.7.jsonl").write_text('{"n":0}\n')
    (tmp_path / "a.x.jsonl").write_text("foreign")
    (tmp_path / "a.9.json").write_text("foreign")
    run = Running(tmp_path / "a.jsonl", max_size=100)
    run.push(1)
    assert (tmp_path / "a.7.jsonl").read_text() == '{"n":0}\n'
    assert (tmp_path / "a.8.jsonl").read_text() == '{"n":1}\n'
    run.stop()
    (tmp_path / "a.10.jsonl.gz").write_bytes(gzip.compress(b""))
    Running(tmp_path / "a.jsonl", max_size=100).push(2)
    assert (tmp_path / "a.11.jsonl").read_text() == '{"n":2}\n'


def test_one_writer(tmp_path: Path) -> None:
    first = Running(tmp_path / "a.jsonl", max_size=8)
    second = Running(tmp_path / "a.jsonl", max_size=8)
    with pytest.raises(RxpipeError, match="must have one writer; another sink or run has it open"):
        raise second.failed or AssertionError
    states = first.checkpoint()
    first.stop()
    other = Appender(tmp_path / "a.2.jsonl")
    third = Running(tmp_path / "a.jsonl", states, max_size=8)
    with pytest.raises(RxpipeError, match="a series of files must have one writer"):
        raise third.failed or AssertionError
    other.close()


def test_the_saved_file_must_be_there(tmp_path: Path) -> None:
    run = Running(tmp_path / "a.jsonl", max_size=8)
    run.push(1, 2)
    states = run.checkpoint()
    run.stop()
    (tmp_path / "a.2.jsonl").unlink()
    with pytest.raises(StateError, match="must be the file that holds 8 bytes of this graph; there is no file"):
        raise Running(tmp_path / "a.jsonl", states, max_size=8).failed or AssertionError


def test_a_full_disk_in_the_middle_of_a_batch_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    made: list[Any] = []

    def full(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(".2.jsonl") and len(made) < 2:
            made.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", full)
    run = Running(tmp_path / "a.jsonl", max_size=8)
    run.push(1, 2, 3)
    assert run.context.flow.held
    run.pass_time(60)
    assert not run.context.flow.held
    assert content(tmp_path) == {"a.1.jsonl": [1], "a.2.jsonl": [2], "a.3.jsonl": [3]}


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("x/%Y/a.log", {}, "codes such as %Y must be in the file's name, not in its folder; got 'x/%Y/a.log'"),
        ("a-%D.log", {}, "a code in the name must be one of %Y, %m, %d, %H, %M, %S, %j; got '%D'"),
        ("a%", {}, "a code in the name must be one of .*; got '%'"),
        ("a", {"keep": 3}, "'keep' and 'compress' need files that rotate"),
    ],
)
def test_what_is_refused(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        write_lines(path, **options)(Subject())


GRAPH = """
graph: rotated
settings: {checkpoint: 30ms}
streams:
  out:
    - watch: {paths: ["FOLDER/logs"], patterns: ["*.jsonl"]}
    - read_lines: {block: 4KB}
    - parse_json
    - write_lines: {path: "FOLDER/out/a-%S.jsonl", max_size: 20KB, compress: gzip}
"""


def written(folder: Path, before: int) -> bool:
    """Whether anything was written since."""
    return size(folder) != before


def size(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(int(entry.name.split(".")[1]) for entry in entries if not entry.name.startswith("."))


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Real processes: files rotate many times between two kills."""
    rng = random.Random(5)
    out, log = tmp_path / "out", tmp_path / "logs" / "in.jsonl"
    out.mkdir()
    log.parent.mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    command = [sys.executable, "-m", "rxpipe", "run", str(tmp_path / "graph.yaml"), "--state", str(tmp_path / "s.db")]
    count = 0
    for _ in range(6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        before = size(out)
        with log.open("ab") as file:
            numbers = range(count, count + 20_000)
            file.writelines(b'{"n":%d}\n' % number for number in numbers)
            count = numbers.stop
        until(partial(written, out, before))
        time.sleep(rng.random() * 0.2)  # the random moment of the kill
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "--once"], check=True, timeout=60, stderr=subprocess.DEVNULL)
    found = content(out)
    assert [number for numbers in found.values() for number in numbers] == list(range(count))
    assert len(found) > 20
