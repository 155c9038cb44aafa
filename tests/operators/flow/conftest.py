"""What the tests of flow operators are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

TIRESOME = """
import os, pathlib, signal, time

def dies_once(record):
    if record["n"] == 5 and not pathlib.Path("died").exists():
        pathlib.Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return record

def dies(record):
    if record["n"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return record

def hangs(record):
    if record["n"] == 5:
        time.sleep(60)
    return record
"""


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    number = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(number)


@pytest.fixture
def tiresome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of functions that make trouble, in the current folder."""
    (tmp_path / "tiresome.py").write_text(TIRESOME)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path
