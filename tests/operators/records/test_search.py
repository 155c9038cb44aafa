"""The search of a block for the lines that have a text in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxpipe.operators.records import _search
from rxpipe.operators.records._search import lines_containing

few = st.binary(max_size=40) | st.text('ab"\0\n', max_size=60).map(str.encode)
markers = st.binary(min_size=1, max_size=4) | st.text('ab"\0', min_size=1, max_size=4).map(str.encode)


def naive(data: bytes, marker: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    for line in data.split(b"\n"):
        if marker in line:
            yield start, line
        start += len(line) + 1


@pytest.fixture(params=["as it is", "without the C library's"], scope="module", autouse=True)
def search(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "as it is":
            patch.setattr(_search, "_memmem", lambda: None)
        yield


@given(few, markers.filter(lambda marker: b"\n" not in marker))
@example(b"", b"a")
@example(b"a", b"a")
@example(b"a\n", b"a")
@example(b"\na", b"a")
@example(b"b\0a\n\0a", b"\0a")
def test_equals_looking_at_every_line(data: bytes, marker: bytes) -> None:
    assert list(zip(*lines_containing(data, marker), strict=True)) == list(naive(data, marker))


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([b'"usage"', b"x" * 257, b"ab" * 40]))
def test_finds_a_marker_of_any_length_at_any_place(before: int, behind: int, marker: bytes) -> None:
    data = b"x" * before + b"\n" + marker[:-1] + b"y" * behind + b"\n" + b"ab" * before + marker + b"a" * behind
    assert list(zip(*lines_containing(data, marker), strict=True)) == list(naive(data, marker))
