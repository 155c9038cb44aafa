"""The statements of the task store for many tasks at a time: one by one, a task would cost several times as much."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

_ENQUEUE = """
INSERT INTO task (key, priority, input, content, state, created) VALUES {rows}
ON CONFLICT (key) DO UPDATE SET
    state = 'pending', priority = excluded.priority, input = excluded.input, content = excluded.content, due = 0,
    attempts = 0, begun = 0, kind = NULL, error = NULL
WHERE state <> 'running' AND (
    (content <> excluded.content AND depends(content, input) <> depends(excluded.content, excluded.input))
    OR (content = excluded.content AND content = x'' AND input <> excluded.input)
    OR (state = 'done' AND ?2)
)
"""
"""A task is due again where what it depends on has changed: the digests of it, or the records where that is all."""

ROWS = (64, 8, 1)
"""How many tasks a statement adds: the many together cost half of what they cost one by one."""

ENQUEUES = {
    size: _ENQUEUE.format(rows=", ".join(f"(?{n}, ?{n + 1}, ?{n + 2}, ?{n + 3}, 'pending', ?1)" for n in numbers))
    for size in ROWS
    for numbers in [range(3, 3 + 4 * size, 4)]
}
"""For each of these: when it is, and whether what is done is due again; then for each task four values of `New`."""

PENDING = """
SELECT attempts + 1, priority, id, key, input, kind FROM task WHERE state = 'pending'
ORDER BY attempts, priority, id LIMIT ?
"""
"""Those to be taken, with the number of the attempt that begins: those never tried come first, then by priority."""

CLAIM = """
UPDATE task SET state = 'running', owner = ?, attempts = attempts + 1, begun = 0, started = ? WHERE
"""
"""To be followed by `among`."""

DONE = """
UPDATE task SET state = 'done', finished = ?, cost = cost + ?, maker = ?, delivery = ?, kind = NULL, error = NULL,
    owner = NULL
WHERE attempts = ? AND owner = ? AND
"""
"""To be followed by `among`."""


def among(ids: Collection[int]) -> tuple[str, tuple[object, ...]]:
    """The condition that a task is one of some, each told once, with its values."""
    low, high = min(ids), max(ids)
    if high - low == len(ids) - 1:  # all from the first to the last, which is looked up faster
        return "id BETWEEN ? AND ?", (low, high)
    return "id IN (SELECT value FROM json_each(?))", (f"[{','.join(map(str, ids))}]",)


def digest(content: bytes) -> bytes:
    """A digest of what a task depends on."""
    return blake2b(content, digest_size=16).digest()


def depends(content: bytes, record: bytes) -> bytes:
    """The digest of what a task depends on: the one that is kept, else that of the whole record."""
    return content or digest(record)
