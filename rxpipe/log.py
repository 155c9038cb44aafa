"""The logger, which is loguru's; importing and setting that up takes a tenth of a start, and most runs log nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["logger"]

if TYPE_CHECKING:
    from loguru import logger
else:

    class _Logger:
        """Imports loguru when something is logged."""

        def __getattr__(self, name: str) -> Any:
            from loguru import logger as found  # see above

            return getattr(found, name)

    logger = _Logger()
