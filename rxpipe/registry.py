"""Where operators are found: the package's own folder, entry points of installed packages, a graph's plugin folders."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rxpipe.errors import RxpipeError
from rxpipe.log import logger

if TYPE_CHECKING:
    from rxpipe.operator import Operator

ENTRY_POINTS = "rxpipe.operators"

REACTIVE = "rx."
"""What the names of reactivex's operators begin with in a graph."""


class Registry:
    """All operators known so far, by name. Built-in ones are imported when they are first asked for."""

    def __init__(self) -> None:
        self._operators: dict[str, Operator] = {}
        self._failed: dict[str, str] = {}
        self._entry_points_loaded = False

    def add(self, operator: Operator) -> None:
        """Register an operator.

        Raises:
            RxpipeError: The name is taken by another function; both places are named.
        """
        other = self._operators.get(operator.name)
        if other is not None and other.where != operator.where:
            msg = f"operator {operator.name!r} is defined twice: {other.where} and {operator.where}; rename one"
            raise RxpipeError(msg)
        if other is None and operator.name in built_in() and operator.module != built_in()[operator.name]:
            msg = f"operator {operator.name!r} is built in; rename the one at {operator.where}"
            raise RxpipeError(msg)
        self._operators[operator.name] = operator

    def get(self, name: str) -> Operator | None:
        """The operator of this name, or None; `rx.NAME` is one of reactivex."""
        if name.startswith(REACTIVE):
            from rxpipe.reactive import operators as reactive  # read only where one is named

            return reactive.find(name)
        if name not in self._operators and name in built_in():
            importlib.import_module(built_in()[name])
        if name not in self._operators:
            self._load_entry_points()
        return self._operators.get(name)

    def names(self) -> list[str]:
        """All names that can be used, sorted, but for those of reactivex."""
        self._load_entry_points()
        return sorted({*built_in(), *self._operators})

    def reactive_names(self) -> list[str]:
        """The names of reactivex's operators that can be used, `rx.NAME`, sorted."""
        from rxpipe.reactive import operators as reactive  # reads all their signatures

        return reactive.names()

    def reactive_refusals(self) -> dict[str, str]:
        """Why reactivex's other operators cannot be used, by their names `rx.NAME`."""
        from rxpipe.reactive import operators as reactive  # likewise

        return reactive.refusals()

    def all(self) -> list[Operator]:
        """All operators, imported, sorted by name."""
        return [found for name in self.names() if (found := self.get(name)) is not None]

    def failures(self) -> dict[str, str]:
        """Plugins that could not be loaded, with the reason."""
        return dict(self._failed)

    def load_folder(self, folder: Path) -> None:
        """Import each Python file of a plugin folder once; a file that fails is reported and the rest still loads."""
        for file in sorted(folder.glob("*.py")):
            place = hashlib.sha1(str(file.resolve()).encode(), usedforsecurity=False).hexdigest()[:8]
            module = f"rxpipe_plugins.{place}.{file.stem}"
            if file.name.startswith("_") or module in sys.modules:
                continue
            spec = importlib.util.spec_from_file_location(module, file)
            if spec is None or spec.loader is None:
                continue
            loaded = importlib.util.module_from_spec(spec)
            sys.modules[module] = loaded
            try:
                spec.loader.exec_module(loaded)
            except Exception as error:  # whatever a plugin raises must not take the rest down
                del sys.modules[module]
                self._fail(str(file), error)

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        from importlib.metadata import entry_points  # reading all metadata is slow; only for unknown names

        for point in entry_points(group=ENTRY_POINTS):
            try:
                point.load()
            except Exception as error:  # whatever a plugin raises must not take the rest down
                self._fail(point.value, error)

    def _fail(self, where: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if self._failed.get(where) != reason:
            logger.warning("plugin {} could not be loaded: {}", where, reason)
        self._failed[where] = reason


@cache
def built_in() -> dict[str, str]:
    """The built-in operators: name to module, read from the listing of the folder (file name = operator name)."""
    folder = Path(__file__).parent / "operators"
    if not folder.is_dir():
        folder = Path(importlib.util.find_spec("rxpipe.operators").submodule_search_locations[0])  # type: ignore[union-attr,index]  # it is a package
    return {
        file.stem: f"rxpipe.operators.{file.parent.name}.{file.stem}"
        for file in sorted(folder.glob("*/*.py"))
        if not file.name.startswith("_")
    }


registry = Registry()
