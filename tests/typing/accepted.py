"""What the type checkers must infer and accept; `mypy` and `pyright` read this file, nobody runs it."""

from __future__ import annotations

from typing import Any, assert_type

import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import Batch, FileEvent, LineDelta, OriginGone, Table, with_outputs
from rxpipe import operators as ops

events = ops.watch(["logs"], patterns=["*.jsonl"], rescan="10s")
assert_type(events, Observable[FileEvent])

debounced = events.pipe(ops.debounce("100ms", by="path", at_most="500ms"))
assert_type(debounced, Observable[FileEvent])

lines = debounced.pipe(ops.read_lines(block="64KB"))
assert_type(lines, Observable[LineDelta | OriginGone])

batches = rx.empty().pipe(ops.parse_json(fields={"model": "message.model"}, containing='"usage"'))
assert_type(batches, Observable[Batch])

derived = batches.pipe(ops.where("n > 1"), ops.derive(m="n * 2"), ops.select(["m"]))
assert_type(derived, Observable[Batch])

made = derived.pipe(ops.call(lambda record: {"n": record["n"] * 2}), ops.enrich("m", table={"a": {"price": 2}}))
assert_type(made, Observable[Batch])
assert_type(
    made.pipe(ops.call("json:loads"), ops.enrich("m", files="prices.json", columns={"p": "number"})), Observable[Batch]
)

chosen = lines.pipe(ops.of_type("LineDelta"))
assert_type(chosen, Observable[Any])

tables = derived.pipe(ops.aggregate(by=["m"], n="sum(n)"))
assert_type(tables, Observable[Table])

tops = tables.pipe(ops.top(3, by="n"), ops.throttle("0.75Hz"))
assert_type(tops, Observable[Table])

mixed = tops.pipe(rxo.map(len), ops.throttle("1Hz"))
assert_type(mixed, Observable[int])

split = batches.pipe(with_outputs(ops.split(errors="level == 'ERROR'"), errors=print))
assert_type(split, Observable[Batch])

minutes = split.pipe(ops.window(size="1m", time="ts", lateness="10s", by=["m"], n="count()"))
assert_type(minutes, Observable[Batch])
