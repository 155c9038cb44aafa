"""The queue on disk under slow readers, however it is written, read, synced and restarted."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from rxpipe.operators.flow._spool import LENGTH, Spool

STEPS = st.lists(
    st.one_of(
        st.binary(max_size=40), st.sampled_from(["take", "take", "take", "checkpoint", "crash", "torn", "restart"])
    ),
    max_size=60,
)


@example(size=1, steps=[b"", "take", "restart", "crash"])
@given(size=st.integers(1, 100), steps=STEPS)
def test_it_is_a_queue_that_goes_back_to_its_checkpoint(size: int, steps: list[bytes | str]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        queue, position = deque[bytes](), None
        saved = list(queue)
        spool = Spool(folder, size, position, keep=True)
        for step in steps:
            if isinstance(step, bytes):
                spool.append(step)
                queue.append(step)
            elif step == "take" and queue:
                assert spool.take() == queue.popleft()
            elif step in ("checkpoint", "restart"):
                if position is not None:
                    spool.forget(position)
                position, saved = spool.sync(), list(queue)
            if step in ("crash", "torn", "restart"):
                spool.close()
                if step == "torn" and position is not None and saved:
                    with (folder / f"{position[2]:08d}").open("ab") as file:
                        file.write(b"\0\0")
                spool, queue = Spool(folder, size, position, keep=True), deque(saved)
            assert spool.nbytes == sum(len(text) + LENGTH for text in queue)
        assert [spool.take() for _ in range(len(queue))] == list(queue)
        spool.close()


def test_files_that_were_read_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 50, None, keep=False)
    for n in range(100):
        spool.append(b"%040d" % n)
    assert len(list(tmp_path.iterdir())) == 50
    for n in range(99):
        assert int(spool.take()) == n
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()
    assert not tmp_path.exists()


def test_files_are_kept_for_the_last_checkpoint(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 50, None, keep=True)
    for n in range(10):
        spool.append(b"%040d" % n)
    first = spool.sync()
    for _ in range(8):
        spool.take()
    assert len(list(tmp_path.iterdir())) == 5
    spool.forget(first)
    assert len(list(tmp_path.iterdir())) == 5
    spool.forget(spool.sync())
    assert len(list(tmp_path.iterdir())) < 3
    spool.close()
    shutil.rmtree(tmp_path)
