"""The types that an operator's parameters have beside Python's own, and the check of parameters.

Nothing here imports pydantic: a parameter that is plainly right needs none of it, see `rxpipe.parameters.plain`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from rxpipe.aggregations.aggregation import parse_aggregation
from rxpipe.expressions import parse
from rxpipe.parameters.plain import Checked, Reading, kept

if TYPE_CHECKING:
    from rxpipe.parameters.models import Secret as Secret  # noqa: PLC0414  # offered here, see `__getattr__`


class _Limit(Reading):
    """A limit of a number. Pydantic is given the constraint of the same name in `annotated_types`, when it asks."""

    __is_annotated_types_grouped_metadata__ = True

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.limit!r})"

    def __iter__(self) -> Iterator[Any]:
        import annotated_types  # declaring a parameter must not cost the import of pydantic

        yield getattr(annotated_types, type(self).__name__)(self.limit)


class Ge(_Limit):
    """At least so much."""

    def read(self, value: float) -> float:
        """The value, if it is."""
        if value < self.limit:
            raise ValueError
        return value


class Gt(_Limit):
    """More than so much."""

    def read(self, value: float) -> float:
        """The value, if it is."""
        if value <= self.limit:
            raise ValueError
        return value


Expr = Annotated[str, Checked(kept(parse))]
"""An expression over the fields of a record, see `rxpipe.expressions`."""

AggregationExpr = Annotated[str, Checked(kept(parse_aggregation))]
"""An aggregation such as `sum(tokens)` or `count()`."""

KNOWN_NAMES_ONLY: Any = {"extra": "forbid"}
"""The `__pydantic_config__` of a dataclass that is a parameter: a name that it does not have is refused."""


def __getattr__(name: str) -> Any:
    """`Secret`, which is a type of pydantic's and is imported where it is asked for."""
    if name != "Secret":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from rxpipe.parameters.models import Secret  # see above

    return Secret
