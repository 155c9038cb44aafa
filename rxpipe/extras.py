"""Packages that only some features need: imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from rxpipe.errors import MissingExtraError


def extra(module: str, name: str, where: str) -> Any:
    """A module of an optional package.

    Args:
        module: The module.
        name: The extra of this distribution that installs it.
        where: What needs it, for the message.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        msg = f"{where}: needs the package {package!r}; got {error}: pip install 'rxpipe-graphs[{name}]'"
        raise MissingExtraError(msg) from error
