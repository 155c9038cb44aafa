"""What the tests of tasks are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operators.tasks.work import Work


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """The work, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return Work()
