"""`chat`: asked once and paid once, whatever is asked, answered, lost or cancelled."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.errors import GraphError, MissingExtraError, RxpipeError
from rxpipe.graph import Graph
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.tasks import _chat
from rxpipe.operators.tasks._slot import Slot
from rxpipe.operators.tasks._template import template
from rxpipe.operators.tasks.chat import chat
from rxpipe.providers.provider import CallError, Remaining, Request, Result, Usage
from rxpipe.providers.standin import StandIn
from rxpipe.tasks.budget import Budget
from rxpipe.tasks.kinds import kind_of
from rxpipe.tasks.manage import Tasks
from rxpipe.testing.service import Behaviour, Service
from tests.operators.tasks.asked import Asked, gone, run

PRICES = '{"m": {"input": 1000000, "output": 2000000}}'


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Service() as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        yield made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.json").write_text(PRICES)
    return tmp_path


class Given:
    """A provider that answers when it is told to, or as a function of the request says."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.open: list[asyncio.Future[Result]] = []
        self.closed = 0

    async def ask(self, request: Request) -> Result:
        self.requests.append(request)
        if self.answer is not None:
            answered: Result = self.answer(request)
            return answered
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.open.append(waiting)
        try:
            return await waiting
        finally:
            self.open.remove(waiting)

    async def stream(self, request: Request) -> AsyncGenerator[str | Result, None]:
        yield await self.ask(request)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def provided(monkeypatch: pytest.MonkeyPatch) -> Given:
    made = Given()
    monkeypatch.setattr(_chat, "service", lambda *_: made)
    return made


@pytest.mark.parametrize("stream", [False, True])
def test_a_task_is_asked_about_charged_and_remembered(service: Service, stream: bool) -> None:
    async def main() -> None:
        asked = Asked(
            chat("m", "Say {{word}} to {{record.who}}.", system="Be kind.", stream=stream, prices="prices.json")
        )
        asked.task({"word": "hello", "who": "Ann"})
        asked.source.on_completed()
        await asked.until(lambda: "|" in asked.out)
        row, _ = asked.out
        assert row["text"].startswith("I am a stand-in for a model. I was asked: 'Be kind. Say hello to Ann.'")
        usage = row["usage"]
        assert usage["cost"] == usage["input_tokens"] + 2 * usage["output_tokens"] > 0
        [outcome] = asked.outcomes
        assert (outcome.begun, outcome.cost, outcome.failure) == (True, usage["cost"], None)

        again = Asked(
            chat("m", "Say {{word}} to {{record.who}}.", system="Be kind.", prices="prices.json"), asked.remembered()
        )
        again.task({"word": "hello", "who": "Ann"})
        again.task({"word": "bye", "who": "Ann"}, 2)
        await again.until(lambda: len(again.out) == 2)
        assert next(found for found in again.out if found["word"] == "hello") == row
        for each in (asked, again):
            each.subscription.dispose()
        costs = {outcome.task.id: outcome.cost for outcome in again.outcomes}
        assert costs[1] == 0 < costs[2]

    run(main)
    assert service.stats()["answered"] == 2
    assert service.stats()["twice"] == []


def test_records_of_no_task_hold_their_leases_until_they_are_answered(provided: Given) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "{{n}}", concurrency=2))
        for n in range(5):
            asked.source.on_next(Batch([{"n": n}], leases=(Lease(asked.context.flow, 10, "f", n, n + 1),)))
        await asked.until(lambda: len(provided.open) == 2)
        assert (asked.context.flow.in_flight, asked.context.flow.held) == (50, True)
        provided.open[1].set_result(Result("late"))
        await asked.until(lambda: asked.out)
        assert (asked.out[0]["n"], asked.context.flow.in_flight) == (1, 40)
        asked.subscription.dispose()
        await gone()
        assert (asked.context.flow.blocks, asked.context.flow.held, provided.open, provided.closed) == (0, False, [], 1)

    run(main)


def test_a_record_that_only_has_a_slot_holds_a_checkpoint(provided: Given) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "x"))
        asked.source.on_next(Batch([{}], leases=(Slot(0.0, lambda *_: None, lambda _: None),)))
        await asked.until(lambda: provided.open)
        with pytest.raises(AssertionError, match="1 leases are still held"):
            asked.context.checkpoint()
        provided.open[0].set_result(Result("yes"))
        await asked.until(lambda: asked.out)
        asked.context.checkpoint()
        asked.subscription.dispose()

    run(main)


def test_tasks_hold_neither_the_sources_nor_a_checkpoint(provided: Given) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "{{n}}", concurrency=1))
        for n in range(5):
            asked.task({"n": n}, n)
        await asked.until(lambda: provided.open)
        assert not asked.context.flow.held
        asked.context.checkpoint()
        asked.subscription.dispose()
        await gone()
        assert [(outcome.until, outcome.failure) for outcome in asked.outcomes] == [(0.0, None)] * 5

    run(main)


@pytest.mark.parametrize(
    ("mark", "kind", "paid"),
    [("[[status 500]]", "server", False), ("[[cut]]", "network", True), ("[[wrong]]", "server", True)],
)
def test_a_task_fails_with_the_kind_of_its_error(service: Service, mark: str, kind: str, paid: bool) -> None:
    async def main() -> None:
        asked = Asked(chat("m", mark, prices="prices.json", options={"max_tokens": 10}))
        gc.disable()  # nothing may wait for the garbage collector
        try:
            asked.task({"n": 1})
            await asked.until(lambda: asked.outcomes)
        finally:
            gc.enable()
        [outcome] = asked.outcomes
        assert (kind_of(outcome.cause), outcome.begun) == (kind, True)
        assert outcome.failure is not None
        assert (outcome.cost > 20) == paid
        assert (asked.out, asked.reasons) == ([], [])
        asked.subscription.dispose()

    run(main)


def test_a_daily_quota(service: Service) -> None:
    service.behaviour = Behaviour(requests_per_day=1, day="1d")

    async def main() -> None:
        asked = Asked(chat("m", "{{n}}"))
        for n in range(2):
            asked.task({"n": n}, n)
        await asked.until(lambda: len(asked.outcomes) == 2)
        [cause] = [outcome.cause for outcome in asked.outcomes if outcome.cause is not None]
        assert isinstance(cause, CallError)
        assert cause.kind == "quota"
        assert cause.until is not None
        assert cause.until == pytest.approx(asked.context.now() + (cause.retry_after or 0))
        asked.subscription.dispose()

    run(main)


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_an_answer_that_does_not_satisfy_the_schema_is_corrected(provided: Given) -> None:
    answers = iter(["what?", '{"n": "1"}', '```json\n{"n": 1}\n```'])
    provided.answer = lambda _: Result(next(answers), Usage(10, 5, 0.5))

    async def main() -> None:
        asked = Asked(chat("m", "Count.", schema=SCHEMA))
        asked.task({})
        await asked.until(lambda: asked.out)
        usage = {"input_tokens": 30, "output_tokens": 15, "cost": 1.5, "finish": "stop"}
        assert asked.out == [{"result": {"n": 1}, "usage": usage}]
        asked.subscription.dispose()
        assert asked.outcomes[0].cost == 1.5
        told = [message["content"] for message in provided.requests[-1].messages]
        assert [told[0], told[1], told[3]] == ["Count.", "what?", '{"n": "1"}']
        assert "must be JSON" in told[2]
        assert "$.n: '1' is not of type 'integer'" in told[4]

        answers_left = next(answers, None)
        again = Asked(chat("m", "Count.", schema=SCHEMA), asked.remembered())
        again.task({})
        await again.until(lambda: again.out)
        assert (again.out, again.begun, answers_left) == (asked.out, 0, None)
        again.subscription.dispose()

    run(main)


def test_an_answer_that_never_satisfies_the_schema_is_forgotten(provided: Given) -> None:
    provided.answer = lambda _: Result("no", Usage(1, 1, 1.0))

    async def main() -> None:
        asked = Asked(chat("m", "Count.", schema=SCHEMA, corrections=1))
        asked.task({})
        await asked.until(lambda: asked.outcomes)
        [outcome] = asked.outcomes
        assert (outcome.cost, kind_of(outcome.cause)) == (2.0, "other")
        assert "does not after 1 corrections: must be JSON" in str(outcome.cause)
        again = Asked(chat("m", "Count.", schema=SCHEMA, corrections=1), asked.remembered())
        again.task({})
        await again.until(lambda: again.outcomes)
        assert len(provided.requests) == 4
        for each in (asked, again):
            each.subscription.dispose()

    run(main)


def test_the_stand_in_satisfies_schemas() -> None:
    schema = {
        "$defs": {"kind": {"enum": ["a", "b"]}},
        "type": "object",
        "properties": {
            "kind": {"$ref": "#/$defs/kind"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 2},
            "size": {"anyOf": [{"type": "number", "minimum": 3}, {"type": "null"}]},
            "ok": {"type": "boolean"},
        },
        "required": ["kind", "tags", "size", "ok"],
    }

    async def main() -> None:
        asked = Asked(chat("stand-in", "x", schema=schema))
        asked.put({})
        await asked.until(lambda: asked.out)
        assert asked.out[0]["result"] == {"kind": "a", "tags": ["stan", "stan"], "size": 3, "ok": False}
        asked.subscription.dispose()

    run(main)


def test_files_are_attached(provided: Given, folder: Path) -> None:
    provided.answer = lambda _: Result("seen")
    (folder / "a.md").write_text("# Title")
    (folder / "b.png").write_bytes(b"\x89PNG")
    (folder / "c.pdf").write_bytes(b"%PDF")
    (folder / "d.mp4").write_bytes(b"\xff\xfe\x00")

    async def main() -> None:
        asked = Asked(chat("m", "Look.", attach="files"))
        asked.put({"files": ["a.md", "b.png", "c.pdf"]})
        asked.put({"files": None})
        asked.put({"files": "d.mp4"})
        asked.put({"files": "nowhere"})
        await asked.until(lambda: len(asked.out) == 2 and len(asked.reasons) == 2)
        plain, attached = sorted(
            (request.messages[0]["content"] for request in provided.requests), key=len, reverse=True
        )
        assert attached == [
            {"type": "text", "text": "Look."},
            {"type": "text", "text": "a.md:\n\n# Title"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            {"type": "file", "file": {"filename": "c.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ]
        assert plain == "Look."
        assert any("d.mp4: must be a text in UTF-8, an image or a PDF" in reason for reason in asked.reasons)
        assert any(reason.startswith("FileNotFoundError") for reason in asked.reasons)
        asked.subscription.dispose()

    run(main)


def test_what_is_left_is_told_to_leases_that_want_to_know(provided: Given) -> None:
    heard: list[Any] = []

    def answer(request: Request) -> Result:
        if request.messages[0]["content"] == "2":
            raise CallError("no", "rate limit", remaining=Remaining(0))
        return Result("yes", remaining=Remaining(7))

    provided.answer = answer

    async def main() -> None:
        asked = Asked(chat("m", "{{n}}"))
        for n in (1, 2):
            slot = Slot(0.0, lambda *_: None, lambda remaining: heard.append(remaining.requests))
            asked.source.on_next(Batch([{"n": n}], leases=(slot,)))
            del slot
        await asked.until(lambda: len(heard) == 2)
        asked.subscription.dispose()

    run(main)
    assert sorted(heard) == [0, 7]


def test_a_budget_that_does_not_allow_for_a_call_gives_the_task_back(provided: Given) -> None:
    provided.answer = lambda _: Result("yes", Usage(1000, 100, 1200.0))
    may_cost = 1000 + 8 + 2 * 100

    async def main(most: float, calls: int) -> None:
        asked = Asked(chat("m", "x" * 3000, prices="prices.json", options={"max_tokens": 100}))
        asked.budget = Budget("main", most)
        asked.task({})
        await asked.until(lambda: asked.outcomes)
        [outcome] = asked.outcomes
        assert (outcome.until, outcome.begun) == ((None, True) if calls else (float("inf"), False))
        assert len(asked.out) == len(provided.requests) == calls
        asked.subscription.dispose()

    run(lambda: main(may_cost - 1, 0))
    run(lambda: main(may_cost, 1))


def test_a_late_answer_counts_with_its_estimate(provided: Given) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "x", timeout="5s", prices="prices.json", options={"max_tokens": 1}))
        asked.task({})
        await asked.until(lambda: provided.open)
        asked.context.virtual.advance_by(5)
        await asked.until(lambda: asked.outcomes)
        [outcome] = asked.outcomes
        assert (kind_of(outcome.cause), outcome.cost, provided.open) == ("timeout", 9 + 2, [])
        asked.subscription.dispose()

    run(main)


def test_a_record_cannot_be_taken_back(provided: Given) -> None:
    provided.answer = lambda _: Result("yes")

    async def main() -> None:
        asked = Asked(chat("m", "x"))
        asked.source.on_next(Batch([{"n": 2}], [{"n": 1}]))
        asked.source.on_next(Batch([], [{"n": 1}]))
        asked.source.on_completed()
        await asked.until(lambda: "|" in asked.out)
        assert asked.reasons == ["a record cannot be taken back: what was asked of it is done"] * 2
        assert asked.back == []
        asked.subscription.dispose()

    run(main)
    assert len(provided.requests) == 1


def test_whatever_is_cancelled_nothing_is_left_over(provided: Given) -> None:
    """Ten thousand calls in all, in many subscriptions, that end, fail, come late or are cancelled at any moment."""
    dice = random.Random(7)

    async def end_some(asked: Asked) -> None:
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
            asked.context.virtual.advance_by(dice.choice([0, 0, 3]))
            for waiting in dice.sample(provided.open, min(len(provided.open), dice.randrange(8))):
                if waiting.done():
                    continue
                if dice.random() < 0.3:
                    waiting.set_exception(CallError("no", dice.choice(["server", "quota", "other"]), spent=True))
                else:
                    waiting.set_result(Result("yes", Usage(1, 1, 1.0)))

    async def main() -> None:
        calls = 0
        while calls < 10_000:
            asked = Asked(chat("m", "{{n}}", concurrency=dice.choice([1, 7, 300]), timeout="5s"))
            tasks, others = set[int](), set[int]()
            for n in range(dice.randrange(1, 80)):
                if dice.random() < 0.7:
                    tasks.add(n)
                    asked.task({"n": n}, n)
                else:
                    others.add(n)
                    asked.put({"n": n})
                if dice.random() < 0.05:
                    await end_some(asked)
            await end_some(asked)
            asked.subscription.dispose()
            await gone()
            calls += len(tasks) + len(others)
            assert (asked.context.flow.blocks, asked.context.flow.held) == (0, False)
            assert (asked.context.gauges["calls"](), asked.context.gauges["queue_depth"]()) == (0, 0)
            assert provided.open == []
            assert sorted(outcome.task.id for outcome in asked.outcomes) == sorted(tasks)
            answered = {row["n"] for row in asked.out}
            for outcome in asked.outcomes:
                if outcome.until is None and outcome.failure is None:
                    assert outcome.task.id in answered
                    assert outcome.cost == 1.0

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_without_a_loop_it_runs_in_threads() -> None:
    batches = rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(chat("stand-in", "{{n}}"), rxo.to_list()).run()
    assert sorted(row["n"] for batch in batches for row in batch.rows) == [1, 2]


def test_from_yaml(folder: Path) -> None:
    (folder / "ask.md").write_text("Say {{n}}")
    step = "{chat: {model: m, prompt: ask.md, schema: {type: object}, timeout: 3s, key: {env: HOME}}}"
    made = load_text(f"graph: asks\nstreams:\n  main: [{{from: errors}}, {step}]\n")
    assert made.plan().streams["main"].steps[1].parameters["timeout"] == 3.0
    assert load_text(made.to_yaml()) == made


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("prompt: asc.md", "data file 'asc.md' must exist.*did you mean 'ask.md'"),
        ("prompt: '{{ n'", "template: must be a template: line 1"),
        ("prompt: x, attach: 'a +'", "attach"),
        ("prompt: x, prices: nowhere.json", "data file 'nowhere.json' must exist"),
        ("prompt: x, timeout: 0s", "timeout: must be greater than 0"),
    ],
)
def test_what_a_graph_says_wrong(folder: Path, given: str, told: str) -> None:
    (folder / "ask.md").write_text("Say {{n}}")
    text = f"graph: asks\nstreams:\n  main: [{{from: errors}}, {{chat: {{model: m, {given}}}}}]\n"
    with pytest.raises(GraphError, match=told):
        load_text(text)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"schema": {"type": "objekt"}}, "schema: must be a JSON schema: \\$.type"),
        ({"schema": "list.json"}, "schema .*list.json: must be an object; got list"),
        ({"prices": "prices.json"}, "must have the model 'n', or '\\*' for all others"),
        ({"prices": "list.json"}, "prices .*list.json: must be a JSON object of models"),
    ],
)
def test_files_that_are_something_else(folder: Path, parameters: dict[str, Any], told: str) -> None:
    (folder / "list.json").write_text("[]")

    async def main() -> None:
        with pytest.raises(RxpipeError, match=told):
            raise Asked(chat("n", "x", **parameters)).out[0]

    run(main)


def test_a_template_that_asks_for_a_field_that_is_not_there(provided: Given) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "{{nme}} {{record.__class__}}"))
        asked.task({"name": "x"})
        await asked.until(lambda: asked.outcomes)
        [outcome] = asked.outcomes
        assert (kind_of(outcome.cause), outcome.begun) == ("invalid input", False)
        assert "'nme' is undefined" in str(outcome.cause)
        asked.subscription.dispose()

    run(main)


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'jinja2'.*pip install 'rxpipe-graphs\[batch\]'"):
        template("{{n}}", "chat")


def test_parts_of_an_answer_are_told_as_they_come(service: Service) -> None:
    async def main() -> None:
        asked = Asked(chat("m", "Say {{n}}.", stream=True))
        asked.task({"n": 1})
        await asked.until(lambda: asked.outcomes)
        parts = [row for batch in asked.context.outputs["parts"] for row in batch.dicts()]
        assert {row["n"] for row in parts} == {1}
        assert len(parts) > 5
        assert "".join(row["part"] for row in parts) == asked.out[0]["text"]
        asked.subscription.dispose()

    run(main)


def test_the_stand_in_keeps_to_the_protocol() -> None:
    async def main() -> None:
        request = Request("m", [{"role": "user", "content": [{"type": "text", "text": "so it is"}]}])
        parts = [part async for part in StandIn().stream(request)]
        assert "".join(map(str, parts[:-1])) == (await StandIn().ask(request)).text
        assert parts[-1] == await StandIn().ask(request)

    run(main)


def test_steps_that_come_before_make_nothing_be_paid_again(folder: Path, service: Service) -> None:
    def run(*before: Any) -> None:
        steps = [
            rx.of(Batch([{"n": 1}, {"n": 2}])),
            ops.tasks("n", store="t.sqlite"),
            *before,
            ops.chat("small", "Say {{ n }}."),
            ops.chat("small", "Say {{ n }}, and {{ text }}."),
        ]
        with Graph("paid", {"main": steps}).run(once=True, state=False) as made:
            made.wait()

    run()
    assert service.stats()["asked"] == 4
    Tasks("t.sqlite").requeue(["1", "2"])
    run(ops.derive(more="n + 1"), ops.where("n > 0"))
    assert service.stats()["asked"] == 4
    assert sorted(Tasks("t.sqlite").show("1")["answers"]) == ["main.chat", "main.chat 2"]
