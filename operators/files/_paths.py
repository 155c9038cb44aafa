"""The watched paths, to be added to and taken from while a watch is running."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from reactivex.disposable import Disposable

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema


class WatchedPaths:
    """A list of paths that may change while it is watched, from any thread.

    Give it to `watch` in the place of a plain list. A running step shows its own under the detail `paths`.

    Args:
        paths: The paths to begin with.

    Example:
        >>> logs = WatchedPaths(["/var/log"])
        >>> logs.add("/srv/log")
        >>> logs()
        ['/var/log', '/srv/log']
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = list(dict.fromkeys(expanded(path) for path in paths))
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __call__(self) -> list[str]:
        """The paths now, absolute, in the order in which they were added."""
        with self._lock:
            return list(self._paths)

    def add(self, path: str) -> None:
        """Watch one more path; its files come as `create` events."""
        self._change(expanded(path), wanted=True)

    def remove(self, path: str) -> None:
        """Watch a path no longer; its files come as `delete` events."""
        self._change(expanded(path), wanted=False)

    def listen(self, changed: Callable[[], None]) -> Disposable:
        """Call `changed` after each change, in the thread that made it."""
        with self._lock:
            self._listeners.append(changed)
        return Disposable(lambda: self._listeners.remove(changed))

    def _change(self, path: str, *, wanted: bool) -> None:
        with self._lock:
            if (path in self._paths) is wanted:
                return
            if wanted:
                self._paths.append(path)
            else:
                self._paths.remove(path)
            listeners = list(self._listeners)
        for changed in listeners:
            changed()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # watching must not cost the import of pydantic

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}}


def expanded(path: str) -> str:
    """A path as it is known inside: `~` expanded, absolute, without a slash at its end."""
    return os.path.abspath(os.path.expanduser(path))
