"""The threads of a run: some that its steps share, and one for each step whose calls wait for those of no other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from rxpipe.errors import RxpipeError


class Threads:
    """The threads of one run, made when first needed.

    Args:
        name: What their names begin with.
        given: Makes all calls in their place, if it is not None.
        over: Whether the run has ended.
    """

    def __init__(self, name: str, given: Executor | None, over: Callable[[], bool]) -> None:
        self._name = name
        self.given = given
        self._over = over
        self._shared: ThreadPoolExecutor | None = None
        self._apart: list[ThreadPoolExecutor] = []

    def shared(self) -> Executor:
        """Threads for the blocking calls of any step.

        Raises:
            RxpipeError: The run has ended.
        """
        if self.given is not None:
            return self.given
        if self._over():
            msg = "the run has ended: there are no threads any more"
            raise RxpipeError(msg)
        if self._shared is None:
            self._shared = ThreadPoolExecutor(thread_name_prefix=self._name)
        return self._shared

    def apart(self) -> Executor:
        """A thread for one step alone, whose calls do not wait for those of others."""
        if self.given is not None:
            return self.given
        self._apart.append(ThreadPoolExecutor(1, thread_name_prefix=f"{self._name}-apart"))
        return self._apart[-1]

    def _made(self) -> list[ThreadPoolExecutor]:
        return [*([] if self._shared is None else [self._shared]), *self._apart]

    @property
    def any(self) -> bool:
        """Whether any were made."""
        return bool(self._made())

    def shut_down(self) -> None:
        """Begin no more calls; those under way end on their own."""
        for threads in self._made():
            threads.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the calls that were under way when the run ended; not on the dataflow thread."""
        for threads in self._made():
            threads.shutdown(wait=True)
