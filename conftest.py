"""What examples in docstrings may use without importing it, and the folder they run in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rxpipe.testing.samples import example_namespace


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(example_namespace())


@pytest.fixture(autouse=True)
def _folder_of_examples(request: pytest.FixtureRequest) -> None:
    """Let an example leave its files in a folder of its own, as `tasks` does its store, not in the checkout."""
    if isinstance(request.node, pytest.DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
