"""What two processes say to each other: whole, whatever its size, and by whatever way."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.operators.flow._wire import SLOT, dumps, loads, receive, send, shared_memory, slots


def told(value: Any, *, shared: bool = True) -> tuple[Any, bytes]:
    """A value as it arrives at the other end, and what the slot has then."""
    with shared_memory(1) as memory:
        [ours], [theirs] = slots(memory.fileno()), slots(memory.fileno())
    one, other = socket.socketpair()
    with one, other, other.makefile("rb") as arriving:
        sender = threading.Thread(target=send, args=(one, dumps(value), ours if shared else None))
        sender.start()
        message = receive(arriving, theirs)
        sender.join()
    assert message is not None
    return loads(message), bytes(ours[:4])


@given(
    blocks=st.lists(st.binary(max_size=50) | st.integers(1, 3).map(lambda n: bytes(n * SLOT // 2)), max_size=4),
    shared=st.booleans(),
)
def test_what_is_sent_arrives(blocks: list[bytes], shared: bool) -> None:
    value = ("several", [pickle.PickleBuffer(block) for block in blocks], {"n": 1})
    (kind, arrived, rest), _ = told(value, shared=shared)
    assert (kind, [bytes(block) for block in arrived], rest) == ("several", blocks, {"n": 1})


@pytest.mark.parametrize(("size", "kept"), [(SLOT, b"bbbb"), (SLOT + 1, bytes(4))])
def test_a_block_that_fits_goes_through_shared_memory(size: int, kept: bytes) -> None:
    value, slot = told(pickle.PickleBuffer(b"b" * size))
    assert bytes(value) == b"b" * size
    assert slot == kept


def test_without_memory_of_the_kernel_a_file_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert told(pickle.PickleBuffer(b"block"))[1] == b"bloc"


def test_the_other_end_is_gone() -> None:
    one, other = socket.socketpair()
    with other, other.makefile("rb") as arriving:
        one.sendall(b"\1")
        one.close()
        assert receive(arriving) is None
