"""What the type checkers must refuse: an ignore that is not needed is an error itself (`warn_unused_ignores`)."""

from __future__ import annotations

import reactivex as rx

from rxpipe import operators as ops

events = ops.watch(["logs"])
events.pipe(ops.where("n > 1"))  # type: ignore[arg-type]  # file events are no records
ops.debounce(quiet=["100ms"])  # type: ignore[arg-type]  # a duration is no list
ops.watch("logs")  # type: ignore[arg-type]  # several paths, in a list
ops.read_lines(begin="end")  # type: ignore[call-arg]  # no such parameter
events.pipe(ops.call("m:f"))  # type: ignore[arg-type]  # file events are no records
events.pipe(ops.enrich("m", files="prices.json"))  # type: ignore[arg-type]  # likewise
ops.call(3)  # type: ignore[arg-type]  # a number is no function
ops.enrich("m", columns={"price": "nubmer"})  # type: ignore[dict-item]  # no such type
ops.of_type("Bach")  # type: ignore[arg-type]  # no such type
rx.of(1).pipe(ops.aggregate(by=["m"], n="sum(n)"))  # type: ignore[arg-type]  # numbers are no batches
