"""What the tests of counting use share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .test_reference import DROPPED, QUIRKS


@pytest.fixture
def agreed(tmp_path: Path) -> Path:
    """The quirks without those files of which ccusage drops lines."""
    names = [f"{name}.jsonl" for name in DROPPED]
    shutil.copytree(QUIRKS / "projects", tmp_path / "projects", ignore=shutil.ignore_patterns(*names))
    return tmp_path
