"""Names of fields on the edges of a graph: what a step's records have, by the rule declared beside its operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rxpipe.elements import ErrorRecord
from rxpipe.expressions.known import KnownFields
from rxpipe.graph import ERRORS
from rxpipe.operator import Operator


class FieldFlow:
    """The fields of each stream's records, as far as they are known.

    Attributes:
        streams: Those of the streams checked so far, by name.
    """

    def __init__(self) -> None:
        self.streams = {ERRORS: KnownFields(ErrorRecord.__struct_fields__)}

    def of(self, stream: object) -> KnownFields:
        """The fields of a stream's records; unknown where there is no such stream."""
        return self.streams.get(str(stream), KnownFields(None))

    def behind(
        self,
        operator: Operator,
        parameters: Mapping[str, Any] | None,
        before: KnownFields | None,
        streams: Mapping[str, str | list[str]],
    ) -> KnownFields:
        """The fields of the records that an operator emits, with the problems of the expressions over those it takes.

        Args:
            operator: The operator.
            parameters: Its converted parameters; None where they cannot be used.
            before: The fields of the step before; None for a first step.
            streams: The other streams that it reads, by input.
        """
        incoming = [] if before is None else [before]
        for name, target in streams.items():
            if operator.accepts(name) == operator.accepts(operator.inputs[0]):
                incoming += map(self.of, target if isinstance(target, list) else [target])
        known = _joined(incoming)
        known.streams = self.streams
        return operator.fields_behind(known, parameters)


def _joined(incoming: Iterable[KnownFields]) -> KnownFields:
    """The fields that a record of any of several streams may have; unknown if those of one are, or if there is none."""
    names: list[str] | None = None
    for known in incoming:
        if known.names is None:
            return KnownFields(None)
        names = [*(names or ()), *known.names]
    return KnownFields(names)
