"""`rxpipe run --dry-run`: what would be done, how long it would take and what it would cost, without doing it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

import rxpipe
from rxpipe.cli import FAILED, main
from rxpipe.errors import RxpipeError
from rxpipe.tasks.dryrun import DryRun, dry_run
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.store import Ended, TaskStore

GRAPH = """
graph: lessons
streams:
  files:
    - list_files: {paths: [docs]}
    - to_jsonl: seen.jsonl
  results:
    - from: files
    - tasks: {key: name, priority: size}
    - limit: {concurrency: 4, rate: 60/min}
    - shell: {command: [touch, called]}
    - budget: {limit: 2 USD}
    - render: {template: "{{ name }}", into: text}
    - write_file: {to: "out/{stem}.md"}
  report:
    - from: results
    - report: {to: report.md}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for n in range(10):
        (tmp_path / "docs" / f"{n}.md").write_text("x" * (10 - n))
    return tmp_path


def tried(text: str = GRAPH, **options: Any) -> DryRun:
    return asyncio.run(dry_run(rxpipe.load_text(text).plan(), **options))


def worked(count: int, seconds: float = 10.0, cost: float = 0.5, failed: int = 0) -> None:
    """Tasks as a run before left them: some are done, some of the others have failed."""
    known = tried()
    now = 0.0
    store = TaskStore(Path("tasks.sqlite"), lambda: now)
    with store.transaction():
        store.owners.join()
        from rxpipe.context import Context
        from rxpipe.elements import Batch
        from rxpipe.tasks.records import Reading

        rows = [{"name": due.key, "path": f"docs/{due.key}", "size": 0} for due in known.due[: count + failed]]
        store.enqueue(Reading(Context(), "name", "0", None).tasks(Batch(rows)))
        claimed = store.claim(count + failed)
        now = seconds
        ends = [Ended(task.id, 1, "done", now, cost) for task in claimed[:count]]
        ends += [Ended(task.id, 1, "failed", now, cost, "server", "no") for task in claimed[count:]]
        store.end(ends, "made before", None)
    store.close()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_all_is_new(folder: Path) -> None:
    before = digests(folder)
    found = tried()
    assert digests(folder) == before, "nothing is called, and nothing is written"
    assert [due.key for due in found.due] == [f"{n}.md" for n in range(9, -1, -1)], "smaller first"
    assert {due.why for due in found.due} == {"new"}
    assert (found.workers, found.seconds_each, found.seconds) == (4, None, None), "60 in a minute may all be at once"
    assert tried(GRAPH.replace("60/min", "[60/min, 3/min]")).seconds == 183.0, "a minute is taken for longer"
    assert (found.cost, found.budget, found.left) == (None, 2.0, 0)


def test_what_was_done_before_tells_time_and_cost(folder: Path) -> None:
    worked(4)
    before = digests(folder)
    found = tried()
    assert digests(folder) == before
    assert len(found.due) == 6
    assert found.left == 4
    assert (found.seconds_each, found.cost_each) == (10.0, 0.5)
    assert (found.seconds, found.cost, found.spent) == (15.0, 3.0, 2.0)


def test_the_rate_may_take_longer_than_the_work() -> None:
    worked(4, seconds=0.1)
    assert tried(GRAPH.replace("60/min", "5/min")).seconds == 61.0
    found = tried(GRAPH.replace("60/min", "60/min, quota: 2/day, zone: Europe/Berlin")).seconds
    assert found is not None
    assert 86_400 <= found <= 2 * 86_400 + 3600


def test_what_changed_what_is_open_and_what_is_done_again(folder: Path) -> None:
    worked(4, failed=2)
    (folder / "docs" / "9.md").write_text("changed")
    Tasks("tasks.sqlite").requeue(["8.md"])
    found = tried()
    whys = {due.key: due.why for due in found.due}
    assert whys == {"9.md": "changed", "8.md": "open"} | dict.fromkeys(["3.md", "2.md", "1.md", "0.md"], "new")
    redone = {"7.md", "6.md"}
    for redo, more in (("changed", redone), ("failed", {"5.md", "4.md"}), ("all", redone | {"5.md", "4.md"})):
        again = {due.key for due in tried(redo=redo).due if due.why == "again"}
        assert again == more
    text = GRAPH.replace("priority: size", "skip_existing: false")
    assert {due.key for due in tried(text).due if due.why == "again"} == redone


def test_what_calls_something_before_the_tasks_is_refused() -> None:
    text = GRAPH.replace("    - tasks:", "    - shell: {command: [touch, called]}\n    - tasks:")
    with pytest.raises(RxpipeError, match=r"results\[1\] shell: must not stand before 'tasks' in a dry run"):
        tried(text)
    assert not Path("called").exists()


def test_graphs_without_tasks_and_with_several() -> None:
    with pytest.raises(
        RxpipeError, match="the graph must have a step 'tasks', which knows what is to be done; got none"
    ):
        tried("graph: g\nstreams:\n  a: [{list_files: [docs]}]\n")
    more = GRAPH + "  more:\n    - from: files\n    - tasks: {key: path, store: more.sqlite}\n"
    with pytest.raises(RxpipeError, match="several have some: 'more', 'results'"):
        tried(more)
    assert len(tried(more, of="more").due) == 10


def test_records_that_cannot_be_tasks_are_counted() -> None:
    found = tried(GRAPH.replace("key: name", "key: \"name if size > 3 else ''\""))
    assert (len(found.due), found.errors) == (7, 3)


def test_the_command(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "lessons.yaml").write_text(GRAPH)
    worked(2, cost=0.9)
    assert main(["run", "lessons.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "8 tasks would be done: 8 new",
        "2 are over, and would be left as they are",
        "time: about 20s (10s each, 4 at a time)",
        "cost: about $7.20 ($0.9000 each), as tasks did before",
        "budget: $0.2000 of $2.00 left; it does not last",
    ]
    assert lines[5:] == [f"    new       {n}.md" for n in range(7, -1, -1)]
    assert main(["run", "lessons.yaml", "--dry-run", "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert told["cost"] == pytest.approx(7.2)
    assert len(told["due"]) == 8
    (folder / "lessons.yaml").write_text("graph: g\nstreams:\n  a: [{list_files: [docs]}]\n")
    assert main(["run", "lessons.yaml", "--dry-run"]) == FAILED
    assert "must have a step 'tasks'" in capsys.readouterr().err


ASKING = """
graph: asking
streams:
  results:
    - list_files: {paths: [docs]}
    - tasks: {key: name}
    - chat:
        model: small
        base_url: "http://127.0.0.1:9"
        prompt: "Say {{ PROMPT }}."
        attach: path
        prices: prices.json
        options: {max_tokens: 100}
"""


def test_prices_tell_what_it_will_cost_before_anything_was_paid(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "prices.json").write_text('{"small": {"input": 10000, "output": 20000}}')
    text = ASKING.replace("PROMPT", "name")
    before = digests(folder)
    found = tried(text)
    assert digests(folder) == before
    from rxpipe.providers.prices import Price, estimate
    from rxpipe.providers.provider import Request

    price, costs = Price(1e4, 2e4), []
    for n in range(10):
        parts = [{"type": "text", "text": told} for told in (f"Say {n}.md.", f"{n}.md:\n\n{'x' * (10 - n)}")]
        costs.append(estimate(Request("small", [{"role": "user", "content": parts}], {"max_tokens": 100}), price))
    assert found.cost_by == "prices"
    assert found.cost == pytest.approx(sum(costs))
    assert found.cost_each == pytest.approx(sum(costs) / 10)
    (folder / "asking.yaml").write_text(text)
    assert main(["run", "asking.yaml", "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "time: not known, no task is done yet"
    assert told[2].startswith("cost: about $21.")
    assert told[2].endswith("each), by the price table, with answers of full length")
    worked(2, cost=0.5)
    assert (tried(text).cost_by, tried(text).cost) == ("before", 4.0)


def test_what_steps_before_add_is_not_known_to_an_estimate(folder: Path) -> None:
    (folder / "prices.json").write_text('{"small": {"input": 10000, "output": 20000}}')
    assert tried(ASKING.replace("PROMPT", "summary")).cost is None
    assert tried(ASKING.replace("PROMPT", "name").replace("        prices: prices.json\n", "")).cost is None
    with pytest.raises(RxpipeError, match="prices: must have the model 'other'"):
        tried(ASKING.replace("PROMPT", "name").replace("model: small", "model: other"))


def test_what_is_in_a_prompt_is_part_of_what_is_done(folder: Path) -> None:
    graph = """
graph: prompted
streams:
  results:
    - list_files: {paths: [docs]}
    - tasks: {key: name}
    - chat: {model: stand-in, prompt: lesson.md, schema: schema.json, prices: prices.json}
"""

    def run(**options: Any) -> None:
        with rxpipe.load_text(graph).run(once=True, state=False, **options) as made:
            made.wait()

    (folder / "lesson.md").write_text("Teach {{ name }}.")
    (folder / "schema.json").write_text('{"const": 1}')
    (folder / "prices.json").write_text('{"stand-in": {"input": 1, "output": 1}}')
    run()
    (folder / "prices.json").write_text('{"stand-in": {"input": 2, "output": 2}}')
    assert tried(graph, redo="changed").due == []
    for name, text in (("lesson.md", "Explain {{ name }}."), ("schema.json", '{"const": 2}')):
        (folder / name).write_text(text)
        assert tried(graph).due == []
        assert len(tried(graph, redo="changed").due) == 10
        run(redo="changed")
        assert tried(graph, redo="changed").due == []
