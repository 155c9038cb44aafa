"""The service to test against: what it allows, how it fails and what it counts, on virtual time and on real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import RxpipeError
from rxpipe.providers.openai import OpenAI
from rxpipe.providers.prices import Price
from rxpipe.providers.provider import CallError, Request, Result
from rxpipe.testing import VirtualTimeScheduler
from rxpipe.testing.service import Behaviour, Desk, Service, Verdict
from rxpipe.testing.service.behaviour import latency_of
from rxpipe.testing.service.ledger import Allowance

LONGEST = 20


class Visited:
    """A desk on virtual time."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.virtual = VirtualTimeScheduler()
        self.desk = Desk(behaviour, lambda: self.virtual.time, self._later)
        self.verdicts: list[tuple[float, str, Verdict]] = []

    def _later(self, wait: float, call: Any) -> Any:
        return self.virtual.schedule_relative(wait, lambda *_: call()).dispose

    def ask(self, prompt: str, tokens: int = 1) -> Any:
        return self.desk.ask(prompt, tokens, lambda made: self.verdicts.append((self.virtual.time, prompt, made)))

    @property
    def statuses(self) -> Counter[int]:
        return Counter(verdict.status for _, _, verdict in self.verdicts)


def test_it_works_on_as_many_as_it_can_and_that_changes() -> None:
    visited = Visited(Behaviour(latency="1s", capacity=[(0, 2), (3, 4), (5, 1)]))
    for number in range(16):
        visited.ask(str(number))
    visited.virtual.advance_by(100)
    ends = Counter(round(at, 3) for at, _, _ in visited.verdicts)
    assert ends == {1: 2, 2: 2, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1}


def test_a_long_line_is_refused() -> None:
    visited = Visited(Behaviour(latency="1s", capacity=[(0, 1)], line=2))
    for number in range(5):
        visited.ask(str(number))
    assert visited.statuses == {503: 2}
    assert visited.desk.present == 3


def test_who_leaves_makes_room() -> None:
    visited = Visited(Behaviour(latency="1s", capacity=[(0, 1)]))
    leave = [visited.ask(str(number)) for number in range(4)]
    leave[0]()
    leave[2]()
    leave[2]()
    visited.virtual.advance_by(1)
    visited.virtual.advance_by(1)
    assert [prompt for _, prompt, _ in visited.verdicts] == ["1", "3"]
    assert (visited.desk.present, visited.desk.journal.totals["gone"]) == (0, 2)


@given(st.data())
def test_whoever_comes_and_leaves_no_place_is_lost(data: st.DataObject) -> None:
    visited = Visited(Behaviour(latency="exponential 1s", capacity=[(0, 3), (5, 0), (8, 2)], statuses={500: 0.2}))
    present: list[Any] = []
    for number in range(data.draw(st.integers(1, 30))):
        present.append(visited.ask(str(number)))
        if data.draw(st.booleans()):
            present.pop(data.draw(st.integers(0, len(present) - 1)))()
        visited.virtual.advance_by(data.draw(st.floats(0, 2)))
        assert 0 <= visited.desk.working <= 3
    visited.virtual.advance_by(1000)
    totals = visited.desk.journal.totals
    assert (visited.desk.working, visited.desk.present) == (0, 0)
    assert len(visited.verdicts) + totals["gone"] == totals["asked"]


@given(
    requests=st.integers(1, 5),
    tokens=st.integers(5, 30),
    asked=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 30)), max_size=40),
)
def test_never_more_in_any_minute_than_is_allowed_and_the_wait_told_is_right(
    requests: int, tokens: int, asked: list[tuple[float, int]]
) -> None:
    now = 0.0
    allowance = Allowance(Behaviour(requests_per_minute=requests, tokens_per_minute=tokens), lambda: now)
    taken: list[tuple[float, int]] = []
    for wait, size in asked:
        now += wait
        refusal = allowance.take(size)
        if refusal is not None and refusal.wait is not None:
            assert 0 < refusal.wait <= 60 + 1e-6
            now += refusal.wait + 1e-6
            again = allowance.take(size)
            if again is not None:  # the other limit
                continue
        elif refusal is not None:
            assert size > tokens
            continue
        taken.append((now, size))
        minute = [(at, of) for at, of in taken if at > now - 60]
        assert len(minute) <= requests
        assert sum(of for _, of in minute) <= tokens


def test_a_day_ends() -> None:
    visited = Visited(Behaviour(requests_per_day=2, day="100s"))
    visited.virtual.advance_by(30)
    for number in range(3):
        visited.ask(str(number))
    [refused] = [verdict for _, _, verdict in visited.verdicts if verdict.status == 429]
    assert refused.headers["Retry-After"] == "70"
    visited.virtual.advance_by(70)
    visited.ask("x")
    visited.virtual.advance_by(0)
    assert visited.statuses == {200: 3, 429: 1}


def test_fates_are_those_of_the_prompt_and_not_of_the_order() -> None:
    behaviour = Behaviour(statuses={500: 0.1}, faults={"cut": 0.1}, latency="uniform 1s 2s")
    fates = [behaviour.fate(str(number), 0) for number in range(2000)]
    assert fates == [behaviour.fate(str(number), 0) for number in range(2000)]
    assert 140 < sum(fate.status == 500 for fate in fates) < 260
    assert 140 < sum(fate.fault == "cut" for fate in fates) < 260
    assert all(1 <= fate.latency <= 2 for fate in fates)
    assert behaviour.fate("[[status 503 x2]]", 1).status == 503
    assert behaviour.fate("[[slow 9s]]", 0).latency == 9


def test_a_distribution_that_there_is_not() -> None:
    with pytest.raises(RxpipeError, match=r"latency: must be a duration, or .* got 'uniform 1s'"):
        latency_of("uniform 1s")


# On sockets


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, LONGEST))


async def asked(provider: OpenAI, prompt: str, *, stream: bool = False) -> Result:
    request = Request("m", [{"role": "user", "content": prompt}])
    if not stream:
        return await provider.ask(request)
    parts = [part async for part in provider.stream(request)]
    assert isinstance(parts[-1], Result)
    assert "".join(map(str, parts[:-1])) == parts[-1].text
    return parts[-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("mark", "kind", "spent"),
    [
        ("[[status 500]]", "server", False),
        ("[[status 529]]", "server", False),
        ("[[status 429]]", "rate limit", False),
        ("[[cut]]", "network", True),
        ("[[wrong]]", "server", True),
    ],
)
def test_what_can_be_wrong_with_an_answer(mark: str, kind: str, stream: bool, spent: bool) -> None:
    async def main() -> None:
        provider = OpenAI(service.url)
        with pytest.raises(CallError) as caught:
            await asked(provider, mark, stream=stream)
        assert (caught.value.kind, caught.value.spent) == (kind, spent)
        await provider.close()

    with Service() as service:
        run(main())
        assert service.stats().get("answered", 0) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_with_its_price_and_what_is_left(stream: bool) -> None:
    async def main() -> None:
        provider = OpenAI(service.url, "the-key", Price(1e6, 1e6))
        result = await asked(provider, "Why?", stream=stream)
        assert result.text.startswith("I am a stand-in for a model. I was asked: 'Why?'")
        assert result.usage.cost == result.usage.input_tokens + result.usage.output_tokens > 0
        assert result.remaining is not None
        assert result.remaining.requests == 4
        await provider.close()

    with Service(Behaviour(requests_per_minute=5, key="the-key")) as service:
        run(main())
        assert service.keys() == {"Why?": {"asked": 1, "answered": 1}}


@pytest.mark.parametrize("stream", [False, True])
def test_one_connection_serves_many_requests(stream: bool) -> None:
    async def main() -> None:
        provider = OpenAI(service.url)
        for number in range(5):
            await asked(provider, str(number), stream=stream)
            with pytest.raises(CallError):
                await asked(provider, f"{number} [[status 500]]", stream=stream)
        await provider.close()

    with Service() as service:
        run(main())
        assert service.stats()["connections"] == 1


def test_a_key_is_asked_for() -> None:
    async def main() -> None:
        provider = OpenAI(service.url, "another")
        with pytest.raises(CallError, match="status 401 Unauthorized: Incorrect API key") as caught:
            await asked(provider, "x")
        assert caught.value.kind == "permission"
        await provider.close()

    with Service(Behaviour(key="the-key")) as service:
        run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        provider = OpenAI("http://127.0.0.1:9/v1")
        with pytest.raises(CallError, match="ConnectError") as caught:
            await asked(provider, "x")
        assert (caught.value.kind, caught.value.spent) == ("network", False)
        await provider.close()

    run(main())


def test_a_client_that_goes_away_is_noticed() -> None:
    async def main() -> None:
        provider = OpenAI(service.url)
        task = asyncio.ensure_future(asked(provider, "[[hang]]"))
        while service.stats()["present"] == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        while service.stats()["present"] > 0:
            await asyncio.sleep(0.001)
        await provider.close()

    with Service() as service:
        run(main())
        assert service.keys() == {"[[hang]]": {"asked": 1, "gone": 1}}


def test_a_slow_stream_that_nobody_waits_for() -> None:
    async def main() -> None:
        provider = OpenAI(service.url)
        request = Request("m", [{"role": "user", "content": "x"}])
        async with aclosing(provider.stream(request)) as parts:
            assert await anext(parts) == "I "
        await provider.close()
        while (others := asyncio.all_tasks() - {asyncio.current_task()}) and len(others) > 1:  # `wait_for` has one
            await asyncio.sleep(0.001)

    with Service(Behaviour(word="10ms")) as service:
        run(main())
        assert service.stats()["present"] == 0
        assert "answered" not in service.stats()


def test_a_process_of_its_own_that_goes_on_from_its_journal(tmp_path: Path) -> None:
    journal = tmp_path / "calls.jsonl"
    for times in (1, 2):
        command = [sys.executable, "-m", "rxpipe.testing.service", "--journal", str(journal)]
        behaviour = '{"statuses": {"503": 0.0}}'
        process = subprocess.Popen([*command, "--behaviour", behaviour], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            body = {"model": "m", "messages": [{"role": "user", "content": "Who?"}]}
            assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
            root = url.removesuffix("/v1")
            assert httpx.get(f"{root}/stats/keys").json()["Who?"] == {"asked": times, "answered": times}
            assert httpx.put(f"{root}/behaviour", json={"statuses": {"502": 1.0}}).status_code == 204
            assert httpx.post(f"{url}/chat/completions", json=body | {"messages": []}).status_code == 502
            assert httpx.post(f"{url}/chat/completions", content=b"[]").status_code == 400
            assert httpx.get(f"{root}/nowhere").status_code == 404
        finally:
            process.send_signal(signal.SIGKILL if times == 1 else signal.SIGTERM)
            process.wait(LONGEST)
            if process.stdout is not None:
                process.stdout.close()
    assert process.returncode == 0
    events = [orjson.loads(line)["event"] for line in journal.read_bytes().splitlines()]
    assert events == ["asked", "answered", "asked", "failed"] * 2
    assert os.stat(journal).st_mode & 0o777 == 0o600
