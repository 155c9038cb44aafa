"""A rejected record tells where its own line stands, whatever steps it came through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rxpipe
from rxpipe import operators, stream
from rxpipe.testing import VirtualRun

ops: Any = operators


def odd(record: dict[str, Any]) -> dict[str, Any] | None:
    if record["n"] % 5 == 0:
        raise ValueError(record["n"])
    return record if record["n"] % 2 else None


def rejected(path: Path, fields: Any, *steps: Any) -> list[bytes | None]:
    """What stands in the file where the records that are rejected are said to stand."""
    main = [ops.watch([str(path)]), ops.read_lines(), ops.parse_json(fields=fields), *steps]
    graph = rxpipe.Graph("g", {"main": main, "seen": [stream("errors"), ops.tap(lambda _: None)]})
    with VirtualRun(graph, once=True) as run:
        run.advance(10)
        data = path.read_bytes()
        return [
            None if event.value.start is None else data[event.value.start : event.value.end]
            for event in run.events["errors"]
        ]


@pytest.mark.parametrize("fields", [None, {"n": "n"}, {"n": "in.n"}], ids=["dicts", "structs", "nested"])
@pytest.mark.parametrize("bad", [b"", b"no json\n", b"\n"], ids=["all good", "one bad", "one empty"])
def test_the_line_of_a_record(tmp_path: Path, fields: Any, bad: bytes) -> None:
    path = tmp_path / "a.jsonl"
    lines = [b'{"n": %d, "in": {"n": %d}, "t": "%s"}' % (n, n, b"\xc3\xa4" * n) for n in range(20)]
    path.write_bytes(b"\n".join(lines[:7]) + b"\n" + bad + b"\n".join(lines[7:]) + b"\n")
    found = rejected(path, fields, ops.where("n != 3"), ops.derive(m="n + 1"), ops.where("1 / (n % 4) > 0"))
    assert [line for line in found if line != b"no json"] == [lines[n] for n in range(0, 20, 4)]


def test_a_step_that_drops_and_rejects(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [b'{"n": %d}' % n for n in range(20)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert rejected(path, None, ops.call(odd)) == [lines[n] for n in range(0, 20, 5)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, 9), min_size=1), first=st.integers(0, 9), bom=st.booleans())
def test_never_the_line_of_another(tmp_path: Path, numbers: list[int], first: int, bom: bool) -> None:
    path = tmp_path / "a.jsonl"
    lines = [b'{"n":%d,"i":%d}' % (n, i) for i, n in enumerate(numbers)]
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + b"\n".join(lines) + b"\n")
    steps = [
        ops.where(f"n >= {first}"),
        ops.derive(m="n"),
        ops.where(f"1 / (n - {first}) > 0"),
        ops.derive(k="1 / (m - 7)"),
    ]
    found = [line and line.removeprefix(b"\xef\xbb\xbf") for line in rejected(path, None, *steps)]
    wrong = [[lines[i] for i, n in enumerate(numbers) if n == of] for of in (first, 7)]
    assert found == wrong[0] + (wrong[1] if first < 7 else [])


def test_a_file_that_changed_tells_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    whole = b'{"n": 0}\n{"n": 1}\n'
    path.write_bytes(whole)

    def gone(record: dict[str, Any]) -> dict[str, Any]:
        path.write_bytes(b'{"n": 8}\n{"n": 9}\n')
        raise ValueError(record)

    path.write_bytes(whole)
    main = [ops.watch([str(path)]), ops.read_lines(), ops.parse_json(), ops.call(gone)]
    with VirtualRun(rxpipe.Graph("g", {"main": main}), once=True) as run:
        run.advance(10)
        places = [(event.value.start, event.value.end) for event in run.events["errors"]]
    assert places == [(0, len(whole))] * 2
