"""What the tests of files share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rxpipe.testing import TestContext


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def restarted(session: Any, start: Any, **read: Any) -> Any:
    """Take a checkpoint, stop, and start anew with the state."""
    states = session.context.checkpoint()
    session.stop()
    return start(read=read, context=TestContext(states))
