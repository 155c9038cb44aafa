"""`rxpipe run usage` as a new user meets it."""

from __future__ import annotations

import json
import re
import signal
import socket
import termios
import time
from typing import Any
from urllib.request import urlopen

import pytest

TOTAL = ["input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens", "cost"]
ESCAPE = "\x1b"


def test_json_is_one_object_of_the_documented_shape(world: Any) -> None:
    world.log(50)
    world.log(70, "t", message={"id": "x", "model": "acme-9b", "usage": {"output_tokens": 7}})
    done = world.run("run", "usage", "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    made = json.loads(done.stdout)
    assert list(made) == ["totals", "models", "days", "sessions", "projects", "blocks", "unreadable", "unknown_models"]
    assert list(made["totals"]) == TOTAL
    assert list(made["models"][0]) == ["model", *TOTAL]
    assert list(made["days"][0]) == ["date", *TOTAL, "models"]
    assert list(made["days"][0]["models"][0]) == ["model", *TOTAL]
    assert list(made["sessions"][0]) == ["project", "session", *TOTAL]
    assert list(made["projects"][0]) == ["project", *TOTAL]
    assert list(made["blocks"][0]) == ["start", "end", "active", *TOTAL]
    assert (made["unreadable"], made["unknown_models"], made["blocks"][0]["active"]) == (0, ["acme-9b"], True)
    assert made["totals"]["output_tokens"] == 57


def test_once_prints_plain_tables_and_keeps_no_state(world: Any) -> None:
    world.log(50)
    done = world.run("run", "usage", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert ESCAPE not in done.stdout
    assert "claude-opus-4-5-20251101" in done.stdout
    assert not world.state.exists()


def test_once_without_logs_is_zeros(world: Any) -> None:
    done = world.run("run", "usage", "--once", "--json")
    assert done.returncode == 0
    made = json.loads(done.stdout)
    assert made["totals"] == dict.fromkeys(TOTAL, 0)
    assert [made[name] for name in ("models", "days", "sessions", "projects", "blocks", "unknown_models")] == [[]] * 6
    tables = world.run("run", "usage", "--once")
    assert (tables.returncode, "sample" in tables.stdout + tables.stderr) == (0, False)


def test_no_colour_on_a_terminal(world: Any) -> None:
    world.log(50)
    terminal = world.terminal("run", "usage", "--once", NO_COLOR="1")
    assert terminal.end() == 0
    assert ESCAPE not in terminal.screen.raw
    assert any("claude-opus-4-5" in line for line in terminal.screen.main)
    assert max(len(line) for line in terminal.screen.main) <= 80


@pytest.mark.parametrize("size", [(80, 24), (140, 50)])
def test_the_live_screen(world: Any, size: tuple[int, int]) -> None:
    world.log(50)
    terminal = world.terminal("run", "usage", size=size)
    wanted = ("claude-opus", "Claude Code usage", "cache", "Today", "-home-u-alpha", "Active block", "rec/s")
    screen = terminal.wait(lambda screen: screen.alternate and all(text in screen.text() for text in wanted))
    assert screen.modes == {"1049": True, "25": False, "7": False}
    world.log(123_456)
    terminal.wait(lambda screen: "123k" in screen.text() or "124k" in screen.text())
    assert screen.spilled == []
    began = time.monotonic()
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert time.monotonic() - began < 10  # two seconds, on a machine that is busy with other things
    assert screen.modes == {"1049": False, "25": True, "7": True}
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert any("claude-opus-4-5-20251101" in line for line in screen.main)
    assert max(len(line) for line in screen.main) <= size[0]
    assert [path.suffix for path in (world.state / "rxpipe").glob("usage*")].count(".sqlite") == 1


def test_the_log_does_not_spoil_the_screen(world: Any) -> None:
    graph = """
        graph: plain
        streams:
          sums:
            - watch: {paths: [logs], patterns: ["*.jsonl"]}
            - read_lines
            - parse_json: {fields: {n: {path: n, type: int}}}
            - aggregate: {total: sum(n)}
            - to_terminal
    """
    log = world.folder / world.write("logs/a.jsonl", '{"n": 41}\n')
    terminal = world.terminal("run", world.write("plain.yaml", graph))
    screen = terminal.wait(lambda screen: "41" in screen.text())
    with log.open("a") as file:
        file.write("broken\n" + '{"n": 9000}\n')
    terminal.wait(lambda screen: "9,041" in screen.text() and "no valid record" in screen.text())
    assert screen.main == []
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert screen.spilled == []
    assert any("WARNING" in line and "no valid record" in line for line in screen.main)


def test_a_second_interrupt_stops_at_once(world: Any) -> None:
    graph = """
        graph: slow
        plugins: [ops]
        allow: {unread: all}
        streams: {all: [{interval: 10ms}, stuck]}
    """
    world.write("ops/stuck.py", STUCK)
    process = world.start("run", world.write("slow.yaml", graph), RXPIPE_DRAIN_TIMEOUT="1h")
    assert process.stderr.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "draining\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130


STUCK = '''
import sys
from reactivex import Observable, never
from rxpipe import operator
from rxpipe.context import current

@operator
def stuck(source: Observable[int]) -> Observable[int]:
    """Never end."""
    def subscribe(observer, scheduler=None):
        told = []
        def on_next(_):
            if not told:
                told.append(1)
                print("stuck", file=sys.stderr, flush=True)
        return source.subscribe(on_next, observer.on_error, lambda: print("draining", file=sys.stderr, flush=True))
    return Observable(subscribe)
'''


def test_each_set_of_values_keeps_its_state(world: Any) -> None:
    world.log(50)
    tokyo, utc = ("--set", "timezone=Asia/Tokyo"), ("--set", "timezone=UTC")

    def kept() -> bool:
        world.run("run", "usage", "--for", "300ms", *utc)  # one of them has the time to read, on a machine that is busy
        return "read_lines" in world.run("state", "list", "usage", *utc).stdout

    world.until(kept, lambda: world.run("state", "list", "usage", *utc))
    for setting in (tokyo, (), tokyo):
        done = world.run("run", "usage", "--for", "300ms", *setting)
        assert (done.returncode, done.stderr) == (0, "")
    listed = world.run("state", "list", "usage", *tokyo)
    assert "timezone=Asia/Tokyo" in listed.stdout.splitlines()[0]
    assert "timezone=UTC" in listed.stderr
    assert len(listed.stderr.splitlines()) == 3
    assert world.run("state", "reset", "usage", *tokyo).returncode == 0
    assert world.run("state", "list", "usage", *tokyo).stdout.count("\n") == 1
    assert "read_lines" in world.run("state", "list", "usage", *utc).stdout
    del world.environ["CLAUDE_CONFIG_DIR"]
    several = world.run("state", "list", "usage")
    assert several.returncode == 1
    assert several.stderr.count("timezone=") == 2


def test_terminated(world: Any) -> None:
    world.log(50)
    process = world.start("run", "usage", "--metrics", "127.0.0.1:0", RXPIPE_CHECKPOINT="1s")
    world.wait_for_state()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "claude-opus-4-5-20251101" in out


def reported(world: Any, *options: str) -> dict[str, Any]:
    """What a run for some time reports: the first that had the time to read something, on a machine that is busy."""
    reports: list[dict[str, Any]] = []

    def some() -> object:
        done = world.run("run", "usage", "--for", "300ms", "--json", *options)
        assert done.returncode == 0
        reports.append(json.loads(done.stdout))
        return reports[-1]["totals"]["output_tokens"]

    world.until(some, lambda: reports)
    return reports[-1]


def test_for_a_time(world: Any) -> None:
    world.log(50)
    assert reported(world)["totals"]["output_tokens"] == 50


def test_sample(world: Any) -> None:
    made = reported(world, "--sample")
    assert (made["unreadable"], made["unknown_models"]) == (0, [])
    assert len(made["models"]) > 1
    assert not world.state.exists()


def test_sample_once(world: Any) -> None:
    done = world.run("run", "usage", "--sample", "--once")
    assert done.returncode == 0
    assert "Total" in done.stdout
    assert done.stdout.startswith("Claude Code usage (sample data)\n")


def test_without_logs_it_says_so_and_runs_the_sample(world: Any) -> None:
    terminal = world.terminal("run", "usage")
    screen = terminal.wait(lambda screen: "claude-" in screen.text())
    assert "Claude Code usage (sample data)" in screen.text()
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert any("running on generated sample data" in line for line in screen.main)
    assert any("claude-" in line for line in screen.main)
    assert screen.spilled == []


def test_logs_in_the_home(world: Any) -> None:
    world.config = world.folder / "home" / ".claude"
    world.log(11)
    world.config = world.folder / "home" / ".config" / "claude"
    world.log(22)
    del world.environ["CLAUDE_CONFIG_DIR"]
    done = world.run("run", "usage", "--once", "--json")
    assert json.loads(done.stdout)["totals"]["output_tokens"] == 33


def test_several_config_folders(world: Any) -> None:
    world.log(11)
    world.config = world.folder / "other"
    world.log(22)
    both = f"{world.folder / 'claude'},{world.folder / 'other'}"
    done = world.run("run", "usage", "--once", "--json", CLAUDE_CONFIG_DIR=both)
    assert json.loads(done.stdout)["totals"]["output_tokens"] == 33
    one = world.run("run", "usage", "--once", "--json", "--set", f"paths={world.folder / 'other'}")
    assert json.loads(one.stdout)["totals"]["output_tokens"] == 22


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("cost_mode=exact", r"cost_mode"),
        ("timezon=UTC", r"did you mean 'timezone'"),
        ("timezone=Europe/Berln", r"Europe/Berlin"),
        ("timezone", r"NAME=VALUE|name=value"),
    ],
)
def test_a_wrong_setting(world: Any, setting: str, message: str) -> None:
    done = world.run("run", "usage", "--once", "--set", setting)
    assert done.returncode in (2, 78), done
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_prices_of_the_user(world: Any) -> None:
    world.log(1_000_000, message={"id": "x", "model": "acme-9b", "usage": {"output_tokens": 1_000_000}})
    prices = world.write("prices.json", json.dumps({"prices": [{"model": "acme-9b", "input": 1, "output": 7}]}))
    done = world.run("run", "usage", "--once", "--json", "--set", f"prices={world.folder / prices}")
    made = json.loads(done.stdout)
    assert (made["unknown_models"], made["totals"]["cost"]) == ([], pytest.approx(7.0))


def test_metrics(world: Any) -> None:
    world.log(50)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = world.start("run", "usage", "--metrics", f"127.0.0.1:{port}")

    def text() -> str:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read(), "utf-8")
        except OSError:
            return ""

    world.until(lambda: "rxpipe_" in text() and "entries" in text(), text)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
