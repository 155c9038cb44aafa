"""Only the latest records for a reader that cannot keep up."""

from __future__ import annotations

from typing import Annotated, TypeVar

from reactivex import Observable

from rxpipe.operator import operator
from rxpipe.operators.flow.on_slow import lossy, on_slow
from rxpipe.parameters.types import Expr, Ge
from rxpipe.promises import promise_of

T = TypeVar("T")


@operator
def conflate(source: Observable[T], by: Expr | None = None, limit: Annotated[int, Ge(1)] = 1000) -> Observable[T]:
    """Keep only the latest record of each key while the reader is not ready, and give it all of them when it is.

    The same as `on_slow` with the policy `conflate`, which tells the rules. A reader that keeps up gets every record.

        source              -a-b-|
        conflate("value")   -a-b-|

    Guarantee: at-most-once for records: of those of one key that wait, only the latest is given.

    Args:
        by: The key; without it only the latest record waits.
        limit: How many keys may wait before the sources are held.

    Example:
        >>> rx.of(Batch([{"id": 1, "n": 1}]), Batch([{"id": 1, "n": 2}])).pipe(conflate("id")).run()
        Batch([{'id': 1, 'n': 2}])
    """
    return source.pipe(on_slow("conflate", limit=limit, by=by))


promise_of(conflate)(lossy)
