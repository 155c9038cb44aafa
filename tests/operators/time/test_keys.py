"""What `debounce`, `throttle`, `sample` and `rate` take for the key of records."""

from __future__ import annotations

from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import GraphError
from rxpipe.language.config import load_text
from rxpipe.operators.time.debounce import debounce
from rxpipe.operators.time.rate import rate
from rxpipe.operators.time.sample import sample
from rxpipe.operators.time.throttle import throttle
from rxpipe.testing import TestContext


@pytest.mark.parametrize(
    "step", [debounce("1s", by="k"), throttle("1Hz", by="k"), sample("1s", by="k"), rate("1Hz", "1Hz", by="k")]
)
def test_records_have_keys_of_their_own(step: Any) -> None:
    context = TestContext()
    seen: list[Batch] = []
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(step).subscribe(seen.append, scheduler=context.virtual)
    a, b, c = {"k": "a", "n": 1}, {"k": "b", "n": 2}, {"k": "a", "n": 3}
    source.on_next(Batch([a, b, c, {"k": []}, {"n": 5}], retractable=True))
    context.virtual.advance_by(5)
    assert seen == [Batch([a, c]), Batch([b]), Batch([{"n": 5}])]
    assert all(batch.retractable for batch in seen)
    source.on_next(Batch([{"k": "b", "n": 4}], [b, c], retractable=True))
    source.on_completed()
    assert seen[3:] == [Batch([{"k": "b", "n": 4}], [b]), Batch([], [c])]
    assert [error.reason for error in context.errors] == ["TypeError: unhashable type: 'list'"]


@pytest.mark.parametrize("step", ["throttle: {rate: 1Hz, by: modle}", "debounce: {quiet: 1s, by: modle}"])
def test_a_key_that_no_record_has_is_refused(step: str) -> None:
    text = f"""
graph: g
streams:
  a: [watch: {{paths: [logs]}}, read_lines, {{parse_json: {{fields: {{model: model}}}}}}, {step}, to_stdout]
"""
    with pytest.raises(GraphError, match="by: unknown field 'modle', did you mean 'model'"):
        load_text(text)


@pytest.mark.parametrize("step", ["throttle: {rate: 1Hz, by: name}", "sample: {rate: 1Hz, by: name}"])
def test_the_key_of_tables_is_an_attribute(step: str) -> None:
    load_text(f"""
graph: g
streams:
  a: [watch: {{paths: [logs]}}, read_lines, parse_json, {{aggregate: {{by: [k], n: count()}}}}, {step}, to_stdout]
""")
