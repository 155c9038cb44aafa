"""However files are torn into writes, rotated and read in pieces, the lines read are the lines written."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxpipe.context import entered
from rxpipe.elements import LineDelta
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.operators.files.watch import watch
from rxpipe.testing import TestContext
from rxpipe.unread import Unread, unread

TEXTS = st.lists(st.one_of(st.text(max_size=12), st.text("äß€🙂\r\0", min_size=1, max_size=90)), max_size=12)


class Follower:
    """Follows a folder, and can be stopped and started again with its state at any time.

    Lines are left unread in pieces of about `left` bytes, where they can be, and then read in blocks.
    """

    def __init__(self, folder: Path, block: int, left: int = 0) -> None:
        self.folder = folder
        self.block = block
        self.left = left
        self.blocks: list[tuple[str, bytes]] = []
        self.voided: list[str] = []
        self.start([])

    def start(self, states: list[Any]) -> None:
        """Begin with a state."""
        self.context = TestContext(states)
        with entered(self.context):
            lines = watch([str(self.folder)], backend="polling").pipe(read_lines(block=self.block))
            if self.left:
                lines = unread(lines, lambda: self.left)
            self.subscription = lines.subscribe(self.note, scheduler=self.context.virtual)
        self.context.virtual.advance_by(0)

    def note(self, element: Any) -> None:
        """Keep the bytes read."""
        if isinstance(element, LineDelta):
            assert element.data.endswith(b"\n")
            self.blocks.append((element.file, element.data))
        elif isinstance(element, Unread):
            blocks = list(element.read(self.block))
            assert [block.start for block in blocks] == [element.start, *(block.end for block in blocks[:-1])]
            assert blocks[-1].end == element.end
            assert all(block.data.endswith(b"\n") for block in blocks)
            self.blocks.append((element.file, b"".join(block.data for block in blocks)))
        else:
            self.voided.append(element.path)

    def look(self) -> None:
        """Let a poll pass."""
        self.context.virtual.advance_by(1)

    def restart(self) -> None:
        """Take a checkpoint, stop, start anew."""
        states = self.context.checkpoint()
        self.stop()
        self.start(states)

    def crash(self, states: list[Any], kept: int) -> None:
        """Stop without a checkpoint and go back to an earlier one, as sinks do."""
        self.stop()
        del self.blocks[kept:]
        self.start(states)

    def stop(self) -> None:
        """Unsubscribe."""
        self.subscription.dispose()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


LEFT = st.just(0) | st.integers(1, 200)


@given(TEXTS, st.lists(st.integers(0, 2000), max_size=12), st.integers(1, 40), LEFT, st.data())
def test_torn_writes_and_restarts(texts: list[str], cuts: list[int], block: int, left: int, data: Any) -> None:
    lines = [text.replace("\n", " ").encode("utf-8", "surrogatepass") + b"\n" for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        follower = Follower(Path(folder), block, left)
        states: list[Any] = []
        kept = 0
        for piece in pieces(b"".join(lines), cuts):
            with path.open("ab") as file:
                file.write(piece)
            what = data.draw(st.sampled_from(["look", "restart", "checkpoint", "crash", "nothing"]))
            if what == "look":
                follower.look()
            elif what == "restart":
                follower.restart()
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            elif what == "checkpoint":
                states, kept = follower.context.checkpoint(), len(follower.blocks)
            elif what == "crash":
                follower.crash(states, kept)
        follower.look()
        follower.stop()
    assert b"".join(block for _, block in follower.blocks) == b"".join(lines)
    assert follower.voided == []


@given(st.lists(st.sampled_from(["write", "torn", "rotate", "look", "restart"]), max_size=30), st.integers(1, 40), LEFT)
def test_rotation_at_any_moment(actions: list[str], block: int, left: int) -> None:
    written: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "x.log"
        log.touch()
        follower = Follower(Path(folder), block, left)
        half = b""
        generation = 0
        for number, action in enumerate(actions):
            if action in ("write", "torn"):
                line = half + b"%d %s\n" % (number, b"x" * (number % 7))
                part = line[len(half) :]
                cut = len(part) // 2 if action == "torn" else len(part)
                with log.open("ab") as file:
                    file.write(part[:cut])
                half = half + part[:cut] if action == "torn" else b""
                if action == "write":
                    written.append(line)
            elif action == "rotate":
                with log.open("ab") as file:
                    file.write(b"end\n")
                written.append(half + b"end\n")
                half = b""
                generation += 1
                for old in range(generation - 1, 0, -1):
                    os.rename(f"{log}.{old}", f"{log}.{old + 1}")
                os.rename(log, f"{log}.1")
                log.touch()
            elif action == "look":
                follower.look()
            else:
                follower.restart()
        follower.look()
        follower.look()
        follower.stop()
    found = [line for _, block in follower.blocks for line in block.splitlines(keepends=True)]
    assert sorted(found) == sorted(written)
    assert follower.voided == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "rewrite", "truncate", "delete", "replace", "move"]), st.sampled_from("abc")
        ),
        max_size=20,
    ),
    st.data(),
)
def test_what_holds_at_the_end_is_what_is_there(actions: list[tuple[str, str]], data: Any) -> None:
    """Taking back what OriginGone voids, what remains of each path is what its file holds."""
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(outside) / "logs"
        folder.mkdir()
        held: dict[str, bytes] = {}

        def note(element: Any) -> None:
            if isinstance(element, LineDelta):
                held[element.path] = held.get(element.path, b"") + element.data
            else:
                held.pop(element.path, None)

        states: list[Any] = []

        def begin() -> tuple[TestContext, Any]:
            context = TestContext(states)
            with entered(context):
                stream = watch([str(folder)], backend="polling").pipe(read_lines(block=5, renamed="reread"))
                return context, stream.subscribe(note, scheduler=context.virtual)

        context, subscription = begin()
        for number, (action, name) in enumerate(actions):
            path = folder / name
            if action == "append":
                with path.open("ab") as file:
                    file.write(b"%d\n" % number)
            elif action == "rewrite":
                path.write_bytes(b"%d\n%d\n%d\n" % (number, number, number))
            elif action == "truncate":
                path.write_bytes(b"")
            elif action == "delete":
                path.unlink(missing_ok=True)
            elif action == "replace":
                (Path(outside) / "new").write_bytes(b"new %d\n" % number)
                (Path(outside) / "new").rename(path)
            elif action == "move" and path.exists():
                path.rename(folder / ("d" + name))
            what = data.draw(st.sampled_from(["look", "restart", "nothing"]))
            if what != "nothing":
                context.virtual.advance_by(1)
            if what == "restart":
                states = context.checkpoint()
                subscription.dispose()
                context, subscription = begin()
        context.virtual.advance_by(5)
        subscription.dispose()
        there = {str(path): path.read_bytes() for path in folder.iterdir() if path.stat().st_size}
    assert {path: content for path, content in held.items() if content} == there
