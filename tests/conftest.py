"""What all tests share, and how long they may take.

`make test` runs on all cores, in an order of its own each time, and has five minutes; `make nightly` takes hours.

- A property test (hypothesis) looks at as many examples as the profiles below say and has no deadline: it sets neither.
  What must be looked at each time is an `@example`.
- What takes more than some seconds is marked `@pytest.mark.nightly`, or is so for the larger of its parameters alone:
  `pytest.param(200, marks=pytest.mark.nightly)`.
- Others run at the same time: a test keeps its files in `tmp_path`, binds port 0, and waits for a condition, not for
  some time. What must have the machine for itself is a benchmark, and stands in `tests/benchmarks`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from rxpipe.context import entered
from rxpipe.testing import TestContext

settings.register_profile("suite", max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays anyway, the tests and their modules: runs call it often."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def context() -> Iterator[TestContext]:
    """A test context, entered for the length of the test."""
    with entered(TestContext()) as made:
        assert isinstance(made, TestContext)
        yield made
