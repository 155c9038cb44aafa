"""Whatever bytes come: nothing but rxpipe's own errors, and what is told of each record is true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.targets import TARGETS

CUT = st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=6) | st.sampled_from([b"\n", b'"', b"\\"]))
"""A place, how much is taken out there, and what is put in."""


def changed(seed: bytes, cuts: list[tuple[int, int, bytes]], times: int) -> bytes:
    for place, length, new in cuts:
        at = place % (len(seed) + 1)
        seed = seed[:at] + new + seed[at + length :]
    return seed * times


@pytest.mark.parametrize("name", [*TARGETS])
@given(data=st.data())
def test_only_errors_of_our_own(name: str, data: st.DataObject) -> None:
    target, seeds = TARGETS[name]
    mutants = st.builds(changed, st.sampled_from(seeds), st.lists(CUT, max_size=4), st.sampled_from([1, 1, 1, 2, 5]))
    target(data.draw(st.one_of(mutants, st.binary(max_size=200))))
