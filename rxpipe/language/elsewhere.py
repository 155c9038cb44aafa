"""Operators by the names that other programs have for them."""

from __future__ import annotations

ELSEWHERE = {
    "assign": "derive",
    "distinct": "dedupe",
    "file": "watch",
    "filter": "where",
    "grok": "parse_text",
    "group_by": "aggregate",
    "http_client": "to_http",
    "log": "to_log",
    "lookup": "enrich",
    "map": "derive",
    "mutate": "derive",
    "print": "to_stdout",
    "query": "where",
    "reduce": "aggregate",
    "regex": "parse_text",
    "remap": "derive",
    "resample": "window",
    "stdin": "from_stdin",
    "stdout": "to_stdout",
    "tail": "watch",
}
"""What Vector, Benthos, pandas, SQL and Rx call operators, where no name here is like it."""
