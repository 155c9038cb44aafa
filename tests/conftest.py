"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rxpipe.context import entered
from rxpipe.testing import TestContext


@pytest.fixture
def context() -> Iterator[TestContext]:
    """A test context, entered for the length of the test."""
    with entered(TestContext()) as made:
        assert isinstance(made, TestContext)
        yield made
