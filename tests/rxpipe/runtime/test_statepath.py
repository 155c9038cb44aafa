"""Where a graph's state is kept: apart for each graph, and for each set of values that it depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rxpipe.language.config import load, load_text
from rxpipe.runtime.statepath import default_path, described, files_of, files_with_any_values, own_values

VIEW = """
graph: view
params:
  paths: {type: list, default: "${LOGS:-logs}"}
  least: 0
  title: Rows
  token: {type: secret, default: "${TOKEN:-none}"}
streams:
  rows:
    - watch: {paths: "${paths}", patterns: ["*.jsonl"]}
    - read_lines
    - parse_json: {fields: {n: n}}
    - where: n >= ${least} and '${token}' != ''
  shown: [{from: rows}, {to_terminal: {title: "${title}"}}]
"""

WRITING = (
    VIEW.replace("graph: view", "graph: writing\n")
    + """
  files: [{from: rows}, {to_jsonl: "${paths}/${title}.jsonl"}]
  table: [{from: rows}, {to_sqlite: {path: "${title}.db", table: t}}]
"""
)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    return tmp_path / "state" / "rxpipe"


def path(text: str, **values: Any) -> Path:
    return default_path(load_text(text).plan(**values))


def test_a_shipped_graph_with_its_defaults_has_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = load("usage").plan()
    assert default_path(plan) == folder / "usage.sqlite"
    assert default_path(load("usage").plan(timezone="local")) == folder / "usage.sqlite"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_path(plan).parts[-4:] == (".local", "state", "rxpipe", "usage.sqlite")


def test_other_values_have_states_of_their_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = load("usage")
    found = [default_path(usage.plan(**values)) for values in ({}, {"timezone": "UTC"}, {"timezone": "Asia/Tokyo"})]
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    found += [default_path(usage.plan()), default_path(usage.plan(timezone="UTC"))]
    assert len(set(found)) == 5
    assert default_path(usage.plan(timezone="UTC")) == found[-1], "the same values, the same state"
    assert described(own_values(usage.plan(timezone="UTC"))) == f"paths={tmp_path} timezone=UTC"
    folder.mkdir(parents=True)
    for file in found:
        file.touch()
    assert files_with_any_values(usage.plan(since="2026-01-01")) == files_of("usage") == sorted(found)
    assert files_of("usag") == []


def test_a_graph_from_another_folder_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = load("usage")
    relative, absolute, here = {"paths": ["logs"]}, {"paths": ["/logs"]}, path(VIEW)
    before = [default_path(usage.plan(**values)) for values in (relative, absolute)]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    after = [default_path(usage.plan(**values)) for values in (relative, absolute)]
    assert [one == two for one, two in zip(before, after, strict=True)] == [False, True]
    assert path(VIEW) != here


def test_values_that_change_nothing_that_is_kept_share_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert path(VIEW) == path(VIEW, title="Lines") == path(VIEW, least=0)
    assert path(VIEW) != path(VIEW, least=1) != path(VIEW, least=2)
    monkeypatch.setenv("TOKEN", "hunter2-hunter2")
    assert path(VIEW) == path(VIEW, token="other-secret")


def test_states_never_share_what_their_sinks_write() -> None:
    assert path(WRITING) == path(WRITING, least=1) == path(WRITING, paths=["elsewhere"])
    assert path(WRITING) != path(WRITING, title="other") == path(WRITING, title="other", least=1)
