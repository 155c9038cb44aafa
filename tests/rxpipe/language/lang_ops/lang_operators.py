"""Small operators for tests of the graph language; they are typed like real ones and do nothing."""

from typing import Any, TypeVar

import reactivex
from reactivex import Observable

from rxpipe.elements import Batch, FileEvent, LineDelta
from rxpipe.operator import operator
from rxpipe.parameters.types import Expr, Secret
from rxpipe.parameters.units import Duration, Rate, Size
from rxpipe.table import Table

Records = TypeVar("Records", Batch, Table)
T = TypeVar("T")


@operator
def t_files(paths: list[str], patterns: list[str] | None = None) -> Observable[FileEvent]:
    """Emit file events.

    Args:
        paths: Folders.
        patterns: Names of files.
    """
    return reactivex.empty()


@operator
def t_read(source: Observable[FileEvent], block: Size = "64KB") -> Observable[LineDelta]:
    """Read lines.

    Args:
        block: Bytes at a time.
    """
    return reactivex.empty()


@operator
def t_parse(source: Observable[LineDelta], fields: dict[str, Any] | None = None) -> Observable[Batch]:
    """Parse lines.

    Args:
        fields: Fields.
    """
    return reactivex.empty()


@operator
def t_where(source: Observable[Records], condition: Expr) -> Observable[Records]:
    """Keep records.

    Args:
        condition: Which.
    """
    return source


@operator
def t_derive(source: Observable[Records], **columns: Expr) -> Observable[Records]:
    """Add columns.

    Args:
        columns: Their expressions.
    """
    return source


@operator
def t_limit(source: Observable[T], rate: Rate, leading: bool = False, wait: Duration = 1) -> Observable[T]:
    """Limit the rate.

    Args:
        rate: How often.
        leading: Whether the first passes at once.
        wait: How long.
    """
    return source


@operator
def t_table(source: Observable[Batch], by: list[str]) -> Observable[Table]:
    """Make a table.

    Args:
        by: Keys.
    """
    return reactivex.empty()


@operator
def t_merge(source: Observable[T], *others: Observable[T]) -> Observable[T]:
    """Merge streams.

    Args:
        others: Further streams.
    """
    return reactivex.merge(source, *others)


@operator
def t_join(source: Observable[Batch], other: Observable[Table], wait: Duration = 1) -> Observable[Batch]:
    """Join a table.

    Args:
        other: The table.
        wait: How long.
    """
    return source


@operator
def t_send(source: Observable[Batch], key: Secret, url: str = "", tries: int = 1) -> Observable[Batch]:
    """Send records.

    Args:
        key: The key.
        url: Where to.
        tries: How often.
    """
    return source
