"""What is known of single operators of reactivex that their signatures do not tell; the tests check all of it."""

from __future__ import annotations

_AGAIN = "it subscribes to its source again, and a stream of a graph runs once"
_LATE = "it subscribes to another stream late, and would miss what a stream of a graph emits before"
_ENDS = "one element without the key would end the stream; use rx.map with an expression"
_STREAMS = "its mapper is a function that makes streams"
_QUEUES = "it holds what one stream is ahead, without a bound"

REFUSED: dict[str, str] = {
    "concat": f"{_LATE}; use 'concat'",
    "delay_subscription": "it subscribes to its source late, and would miss what a stream of a graph emits before",
    "delay_with_mapper": "without its mapper, a function that makes streams, it delays nothing",
    "dematerialize": "it takes notifications, which nothing in a graph makes but rx.materialize",
    "distinct": "it looks through a list of all keys that grows without a bound; use 'dedupe'",
    "flat_map": _STREAMS,
    "flat_map_indexed": _STREAMS,
    "pluck": _ENDS,
    "pluck_attr": _ENDS,
    "repeat": _AGAIN,
    "retry": _AGAIN,
    "sequence_equal": _QUEUES,
    "share": "the streams of a graph are shared already",
    "timeout_with_mapper": "without its mapper, a function that makes streams, it has no timeouts",
    "zip": f"{_QUEUES}; use 'zip'",
}
"""The operators that are not offered though their parameters could be written, and why."""

HIDDEN: dict[tuple[str, str], str] = {
    ("merge", "max_concurrent"): "it queues streams without a bound",
}
"""Parameters that are not offered, and why."""

HOLDING = frozenset(
    {
        "buffer",
        "buffer_with_count",
        "combine_latest",
        "debounce",
        "distinct_until_changed",
        "fork_join",
        "last",
        "last_or_default",
        "max",
        "max_by",
        "min",
        "min_by",
        "pairwise",
        "reduce",
        "sample",
        "scan",
        "single",
        "single_or_default",
        "single_or_default_async",
        "skip_last",
        "skip_last_with_time",
        "slice",
        "take_last",
        "take_last_buffer",
        "take_last_with_time",
        "throttle_with_timeout",
        "to_dict",
        "to_iterable",
        "to_list",
        "to_set",
        "with_latest_from",
        "zip_latest",
    }
)
"""The operators that keep an element until another comes, if only the last one they emitted: a checkpoint would wait
for the leases of those for ever."""

LEADING = frozenset({"throttle_first"})
"""The operators that let the first element of a burst pass and drop all others, the last one too."""

PATIENT = frozenset({"debounce", "throttle_with_timeout"})
"""The operators that hold an element for as long as others follow, and so perhaps for ever."""
