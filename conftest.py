"""What examples in docstrings may use without importing it."""

from __future__ import annotations

from typing import Any

import pytest

from rxpipe.testing.samples import example_namespace


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(example_namespace())
