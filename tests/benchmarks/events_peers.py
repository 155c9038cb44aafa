"""The events job in other tools: keep what is no DEBUG, group by service and model, count, cost and dearest call.

Usage: `events_peers.py PEER FILE`. Prints one JSON object: for each group, as `service/model`, its three figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

Groups = dict[tuple[str, str], list[float]]
"""Count, sum and maximum of each service and model."""

BLOCK = 256 * 1024
FIELDS = {
    "ts": float,
    "service": str,
    "level": str,
    "model": str,
    "user": str,
    "latency": float,
    "tokens_in": int,
    "tokens_out": int,
}


def blocks(path: str) -> Iterator[bytes]:
    """A file in blocks of whole lines."""
    with Path(path).open("rb") as file:
        rest = b""
        while data := file.read(BLOCK):
            cut = data.rfind(b"\n") + 1
            yield rest + data[:cut]
            rest = data[cut:]


def add(groups: Groups, event: Any) -> Groups:
    """Take one event in, a dict."""
    if event["level"] != "DEBUG":
        cost = event["tokens_in"] * 3e-6 + event["tokens_out"] * 15e-6
        key = (event["service"], event["model"])
        group = groups.get(key)
        if group is None:
            groups[key] = [1, cost, cost]
        else:
            group[0] += 1
            group[1] += cost
            if cost > group[2]:  # half the time of max()
                group[2] = cost
    return groups


def independent(path: str) -> Groups:
    """The result by the standard library alone, to hold all others against."""
    groups: Groups = {}
    with Path(path).open("rb") as file:
        for line in file:
            add(groups, json.loads(line))
    return groups


def handwritten() -> Callable[[str], Groups]:
    """A loop over typed blocks, as one writes it who knows what is fast."""
    msgspec = import_module("msgspec")
    event: Any = msgspec.defstruct("Event", list(FIELDS.items()), gc=False)
    decode = msgspec.json.Decoder(list[event]).decode

    def run(path: str) -> Groups:
        groups: Groups = {}
        for block in blocks(path):
            for row in decode(b"[" + block[:-1].replace(b"\n", b",") + b"]"):
                if row.level != "DEBUG":
                    cost = row.tokens_in * 3e-6 + row.tokens_out * 15e-6
                    key = (row.service, row.model)
                    group = groups.get(key)
                    if group is None:
                        groups[key] = [1, cost, cost]
                    else:
                        group[0] += 1
                        group[1] += cost
                        if cost > group[2]:  # half the time of max()
                            group[2] = cost
        return groups

    return run


def typed_blocks(path: str) -> Groups:
    """That loop, made and run."""
    return handwritten()(path)


def plain(path: str) -> Groups:
    """A plain loop, each line decoded by orjson."""
    loads, groups = import_module("orjson").loads, Groups()
    with Path(path).open("rb") as file:
        for line in file:
            add(groups, loads(line))
    return groups


def rxpy(path: str) -> Groups:
    """Observables of lines."""
    rx, ops, loads = import_module("reactivex"), import_module("reactivex.operators"), import_module("orjson").loads
    with Path(path).open("rb") as file:
        steps = (ops.map(loads), ops.filter(lambda event: event["level"] != "DEBUG"), ops.reduce(add, {}))
        groups: Groups = rx.from_iterable(file).pipe(*steps).run()
    return groups


def polars(path: str) -> Groups:
    """Polars' streaming engine."""
    pl = import_module("polars")
    types = {str: pl.String, int: pl.Int64, float: pl.Float64}
    schema = {name: types[kind] for name, kind in FIELDS.items()}
    frame = (
        pl.scan_ndjson(path, schema=schema)
        .filter(pl.col("level") != "DEBUG")
        .with_columns(cost=pl.col("tokens_in") * 3e-6 + pl.col("tokens_out") * 15e-6)
        .group_by("service", "model")
        .agg(pl.len(), pl.col("cost").sum(), pl.col("cost").max().alias("dearest"))
    )
    return _keyed(frame.collect(engine="streaming").rows())


def duckdb(path: str) -> Groups:
    """DuckDB with one thread."""
    types = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}
    columns = ", ".join(f"{name}: '{types[kind]}'" for name, kind in FIELDS.items())
    db = import_module("duckdb").connect(config={"threads": 1})
    text = f"""
        SELECT service, model, count(*), sum(cost), max(cost) FROM (
            SELECT service, model, tokens_in * 3e-6::DOUBLE + tokens_out * 15e-6::DOUBLE AS cost
            FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}}) WHERE level != 'DEBUG'
        ) GROUP BY ALL"""
    return _keyed(db.execute(text, [path]).fetchall())


def bytewax(path: str) -> Groups:
    """Bytewax, whose items are blocks of lines."""
    flows, op = import_module("bytewax.dataflow"), import_module("bytewax.operators")
    testing, loads = import_module("bytewax.testing"), import_module("orjson").loads
    results: list[tuple[str, Groups]] = []

    def counted(block: bytes) -> Groups:
        groups: Groups = {}
        for line in block.splitlines():
            add(groups, loads(line))
        return groups

    flow = flows.Dataflow("events")
    parts = op.map("count", op.input("blocks", flow, testing.TestingSource(blocks(path))), counted)
    whole = op.fold_final("sum", op.key_on("all", parts, lambda _: "all"), dict, _joined)
    op.output("out", whole, testing.TestingSink(results))
    testing.run_main(flow)
    return results[0][1]


def streamz(path: str) -> Groups:
    """Streamz, whose items are lines."""
    source = import_module("streamz").Stream()
    results: list[Groups] = []
    events = source.map(import_module("orjson").loads).filter(lambda event: event["level"] != "DEBUG")
    events.accumulate(add, start={}).sink(lambda groups: results.__setitem__(slice(None), [groups]))
    with Path(path).open("rb") as file:
        for line in file:
            source.emit(line)
    return results[0]


def pathway(path: str) -> Groups:
    """Pathway, reading a file once."""
    pw = import_module("pathway")
    results: dict[Any, tuple[Any, ...]] = {}
    events = pw.io.jsonlines.read(path, schema=pw.schema_from_types(**FIELDS), mode="static")
    kept = events.filter(pw.this.level != "DEBUG")
    costs = kept.select(pw.this.service, pw.this.model, cost=pw.this.tokens_in * 3e-6 + pw.this.tokens_out * 15e-6)
    table = costs.groupby(pw.this.service, pw.this.model).reduce(
        pw.this.service,
        pw.this.model,
        calls=pw.reducers.count(),
        cost=pw.reducers.sum(pw.this.cost),
        dearest=pw.reducers.max(pw.this.cost),
    )

    def on_change(key: Any, row: Any, *, is_addition: bool, **_: Any) -> None:
        if is_addition:
            results[key] = (row["service"], row["model"], row["calls"], row["cost"], row["dearest"])

    pw.io.subscribe(table, on_change)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    return _keyed(results.values())


def _joined(groups: Groups, others: Groups) -> Groups:
    for key, (count, total, most) in others.items():
        group = groups.setdefault(key, [0, 0.0, 0.0])
        group[0] += count
        group[1] += total
        group[2] = max(group[2], most)
    return groups


def _keyed(rows: Iterable[tuple[Any, ...]]) -> Groups:
    return {(service, model): list(figures) for service, model, *figures in rows}


PEERS: dict[str, Callable[[str], Groups]] = {
    "handwritten": typed_blocks,
    "plain": plain,
    "rxpy": rxpy,
    "polars": polars,
    "duckdb": duckdb,
    "bytewax": bytewax,
    "streamz": streamz,
    "pathway": pathway,
    "independent": independent,
}


if __name__ == "__main__":
    print(json.dumps({"/".join(key): figures for key, figures in PEERS[sys.argv[1]](sys.argv[2]).items()}))
