"""How an engine is to run a plan."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import msgspec

from rxpipe.context import Notifier

if TYPE_CHECKING:
    from rxpipe.runtime.replay import Replay
    from rxpipe.runtime.state import StateFile
    from rxpipe.tasks.store import Redo


class Options(msgspec.Struct):
    """How to run a plan.

    Args:
        in_flight: Bytes read but not yet done with, above which sources wait.
        checkpoint: Seconds between checkpoints.
        duration: Seconds after which the run drains; None lets it go on.
        once: Whether sources end when they have emitted what is there.
        output: What sinks that print are told, see `rxpipe.runtime.output`.
        state: The open state file; the engine closes it.
        executor: Threads for blocking calls; by default a pool of the run's own, made when first needed.
        watch: Called with the name of a stream, or `STREAM.OUTPUT`, and each element that leaves it; with `errors` and
            each error record.
        completed: Called with the name of each stream that is complete.
        notifier: Tells `watch` of changes in the place of the kernel, see `rxpipe.context.Context.notifier`.
        redo: Which tasks that are over are due again, see `rxpipe.tasks.store.Redo`.
        replay: Dead letters to send, in the place of what the sources would read; the run drains behind them.
    """

    in_flight: int = 64 * 1024 * 1024
    checkpoint: float = 1.0
    duration: float | None = None
    once: bool = False
    output: Any = None
    state: StateFile | None = None
    executor: Executor | None = None
    watch: Callable[[str, Any], None] | None = None
    completed: Callable[[str], None] | None = None
    notifier: Callable[[Callable[[set[str]], None]], Notifier] | None = None
    redo: Redo | None = None
    replay: Replay | None = None
