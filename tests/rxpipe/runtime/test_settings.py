"""Settings: who wins, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxpipe.errors import GraphError
from rxpipe.runtime.settings import load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults() -> None:
    found = load_settings({}, {})
    assert (found.in_flight, found.checkpoint, found.state, found.log_level) == ("64MB", "1s", None, "INFO")


def test_later_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {"checkpoint": "2s", "in_flight": "2MB", "state": "g", "log_level": "DEBUG"}
    (folder / ".env").write_text("RXPIPE_CHECKPOINT=3s\nRXPIPE_IN_FLIGHT=3MB\nRXPIPE_STATE=e\nOTHER=1\n")
    monkeypatch.setenv("RXPIPE_CHECKPOINT", "4s")
    monkeypatch.setenv("rxpipe_in_flight", "4MB")
    found = load_settings(graph, {"checkpoint": "5s", "in_flight": None})
    assert (found.checkpoint, found.in_flight, found.state, found.log_level) == (5, 4_000_000, "e", "DEBUG")
    assert load_settings(graph, {}).checkpoint == 4


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("checkpoint", "soon", r"settings: checkpoint: duration must be .*'soon'"),
        ("checkpoint", "0s", r"settings: checkpoint: .*greater than 0"),
        ("in_flight", "lots", r"settings: in_flight: size must be .*'lots'"),
        ("log_format", "xml", r"settings: log_format: .*'text' or 'json'.*got 'xml'"),
        ("log_level", "loud", r"settings: log_level: .*'TRACE'.*got 'LOUD'"),
    ],
)
def test_wrong_values(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with pytest.raises(GraphError, match=message + r".* \(given to the run\)"):
        load_settings({}, {name: value})
    with pytest.raises(GraphError, match=r"\(the graph's settings\)"):
        load_settings({name: value}, {})
    (folder / ".env").write_text(f"RXPIPE_{name.upper()}={value}\n")
    with pytest.raises(GraphError, match=rf"\(RXPIPE_{name.upper()} in .env\)"):
        load_settings({}, {})
    monkeypatch.setenv(f"RXPIPE_{name.upper()}", value)
    with pytest.raises(GraphError, match=rf"\(RXPIPE_{name.upper()}\)") as caught:
        load_settings({}, {})
    assert "validation error" not in str(caught.value)
    assert len(caught.value.problems) == 1


def test_levels_in_any_case() -> None:
    assert load_settings({}, {"log_level": "debug"}).log_level == "DEBUG"


def test_a_port_alone() -> None:
    assert load_settings({"metrics": 9464}, {}).metrics == 9464


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        GraphError, match=r"unknown setting 'chekpoint' \(given to the run\), did you mean 'checkpoint'\?"
    ):
        load_settings({}, {"chekpoint": "1s"})
    with pytest.raises(GraphError, match=r"unknown setting 'colour' \(the graph's settings\); there are 'in_flight', "):
        load_settings({"colour": "red"}, {})
    monkeypatch.setenv("RXPIPE_CHEKPOINT", "1s")
    with pytest.raises(
        GraphError, match=r"unknown setting 'chekpoint' \(RXPIPE_CHEKPOINT\), did you mean 'checkpoint'\?"
    ):
        load_settings({}, {})


def test_a_variable_that_only_shares_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RXPIPE_MY_KEY", "hunter2")
    assert "hunter2" not in repr(load_settings({}, {}))


def test_all_problems_at_once() -> None:
    with pytest.raises(GraphError) as caught:
        load_settings({"checkpoint": "soon"}, {"in_flight": "lots", "bad": 1})
    assert len(caught.value.problems) == 3
