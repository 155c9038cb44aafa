"""A service to test against: models behind an interface like OpenAI's, that is slow, limited, and fails, as it is told.

    with Service(Behaviour(latency="exponential 50ms", requests_per_minute=600, statuses={500: 0.05})) as service:
        ... OPENAI_BASE_URL=service.url ...
        assert service.stats()["twice"] == []

As a process of its own, which outlives its clients: `python -m rxpipe.testing.service --journal calls.jsonl`.
`Desk` is the same without a network, on whatever clock it is given.
"""

from rxpipe.testing.service.behaviour import Behaviour
from rxpipe.testing.service.desk import Desk, Verdict
from rxpipe.testing.service.server import Service

__all__ = ["Behaviour", "Desk", "Service", "Verdict"]
