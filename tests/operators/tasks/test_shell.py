"""`shell`: a program per record, whose arguments are what they are, and of which nothing is left over."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxpipe.elements import Batch
from rxpipe.errors import ParameterError
from rxpipe.language.config import load_text
from rxpipe.operators.tasks._shell import arguments
from rxpipe.operators.tasks._template import template
from rxpipe.operators.tasks.shell import shell
from rxpipe.tasks.kinds import kind_of
from tests.operators.tasks.asked import Asked, gone, run

ECHO = [sys.executable, "-c", "import sys; sys.stdout.write(repr(sys.argv[1:]))"]


def outputs(step: Any, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """What programs gave for records, in their order."""
    asked: list[Asked] = []

    async def main() -> None:
        made = Asked(step)
        asked.append(made)
        made.source.on_next(Batch([{**row, "at": at} for at, row in enumerate(rows)]))
        made.source.on_completed()
        await made.until(lambda: "|" in made.out)

    run(main)
    found = sorted((row for row in asked[0].out if row != "|"), key=lambda row: row["at"])
    return [row["output"] for row in found]


@pytest.mark.parametrize(
    "value",
    ["a b", "$(touch hacked)", "`touch hacked`", "'; touch hacked; '", '"; touch hacked #', "*", "~", "\n", "", "é"],
)
@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', "x{}y"])
def test_a_value_is_part_of_one_argument_whatever_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [f"{part!r}" for part in ECHO]
    [found] = outputs(shell(" ".join([*command, form.format("{{value}}")])), {"value": value})
    inside = form.strip("'\"").replace("{}", value)
    assert (found["stdout"], found["status"], found["stderr"], found["cut"]) == (repr([inside]), 0, "", False)
    assert not [*tmp_path.iterdir()]


words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r{}"), max_size=12)


@given(st.lists(words, min_size=1, max_size=4), words)
@settings(max_examples=200)
def test_as_many_arguments_as_the_command_has_whatever_is_put_into_them(literals: list[str], value: str) -> None:
    import shlex

    text = " ".join(f"{shlex.quote(literal)}{{{{ value }}}}" for literal in literals)
    made = [template(part, "x")({"value": value}) for part in arguments(text)]
    assert made == [literal.replace("\ue000", "").replace("\ue001", "") + value for literal in literals]


def test_expressions_with_spaces_and_quotes_are_one_argument() -> None:
    found = arguments("""run {{ name | default("a b") }} {% if x %}-v{% endif %} 'two words' a\\ b""")
    assert found == ["run", """{{ name | default("a b") }}""", "{% if x %}-v{% endif %}", "two words", "a b"]


def test_what_a_program_reads_and_writes() -> None:
    script = (
        "import sys; data = sys.stdin.read(); sys.stderr.write('e' * 50); sys.stdout.write(data * 200_000); sys.exit(3)"
    )
    step = shell([sys.executable, "-c", script], stdin="{{text}}", expect=[3], largest=100)
    [found] = outputs(step, {"text": "ab"})
    assert found == {"status": 3, "stdout": "ab" * 50, "stderr": "e" * 50, "cut": True}


def test_a_program_that_reads_nothing() -> None:
    [found] = outputs(shell(["true"], stdin="x" * 1_000_000), {})
    assert found["status"] == 0


@pytest.mark.parametrize(
    ("command", "kind", "told"),
    [
        (["sh", "-c", "echo lost >&2; exit 4"], "other", "CallError: sh ended with status 4: lost"),
        (["sh", "-c", "exit 75"], "server", "CallError: sh ended with status 75"),
        (["sh", "-c", "kill -TERM $$"], "interrupted", "CallError: sh ended with signal SIGTERM"),
        (["/no/such/program"], "invalid input", "FileNotFoundError"),
        (["/"], "permission", "PermissionError"),
    ],
)
def test_why_a_task_fails(command: list[str], kind: str, told: str) -> None:
    async def main() -> None:
        asked = Asked(shell(command))
        asked.task({})
        await asked.until(lambda: asked.outcomes)
        [outcome] = asked.outcomes
        assert outcome.failure is not None
        assert outcome.failure.reason.startswith(told)
        assert (kind_of(outcome.cause), outcome.begun) == (kind, True)
        asked.subscription.dispose()

    run(main)


def test_what_was_paid_for_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "runs"

    async def main() -> None:
        first = Asked(shell(["sh", "-c", 'echo run >> "$1"', "sh", str(file)], paid=True))
        first.task({"n": 1})
        await first.until(lambda: first.out)
        second = Asked(shell(["sh", "-c", 'echo run >> "$1"', "sh", str(file)], paid=True), first.remembered())
        second.task({"n": 1})
        await second.until(lambda: second.out)
        assert (second.out, second.begun) == (first.out, 0)
        for each in (first, second):
            each.subscription.dispose()

    run(main)
    assert file.read_text() == "run\n"


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in {b"Z", b"X"}
    except FileNotFoundError:
        return False


FAMILY = 'sleep 1000 & echo $! >> "$1"; echo $$ >> "$1"; wait'


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="sees by /proc which processes there are")
@pytest.mark.parametrize("how", ["late", "unsubscribed"])
def test_who_is_stopped_is_killed_with_all_its_processes(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pids"

    async def main() -> None:
        asked = Asked(shell(["sh", "-c", FAMILY, "sh", str(file)], timeout="5s"))
        asked.task({})
        await asked.until(lambda: file.exists() and len(file.read_text().split()) == 2)
        pids = [int(text) for text in file.read_text().split()]
        assert all(map(alive, pids))
        if how == "late":
            asked.context.virtual.advance_by(5)
            await asked.until(lambda: asked.outcomes)
            assert kind_of(asked.outcomes[0].cause) == "timeout"
        asked.subscription.dispose()
        await gone()
        await asked.until(lambda: not any(map(alive, pids)))

    run(main)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="sees by /proc which processes there are")
def test_whenever_it_is_cancelled_no_process_is_left() -> None:
    dice = random.Random(3)

    def children() -> list[str]:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

    async def main() -> None:
        before = children()
        descriptors = len(os.listdir("/proc/self/fd"))
        for _ in range(40):
            asked = Asked(shell(["sleep", "1000"], concurrency=3))
            for n in range(4):
                asked.task({"n": n}, n)
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            asked.subscription.dispose()
            await gone()
            assert [outcome.until for outcome in asked.outcomes] == [0.0] * 4
        await asked.until(lambda: children() == before)
        await asked.until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)

    run(main)


def test_from_yaml() -> None:
    text = "graph: g\nstreams:\n  main: [{from: errors}, {shell: 'echo {{step}}'}]\n"
    made = load_text(text)
    assert load_text(made.to_yaml()) == made


@pytest.mark.parametrize(
    ("command", "told"),
    [("", "command: must name a program"), ("echo 'a", "No closing quotation"), ("echo {{ a", "must be a template")],
)
def test_a_command_is_refused(command: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        shell(command)
