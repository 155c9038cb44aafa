"""What operators declare of themselves to the check of a graph: what becomes of data after a crash, order, lints, cost.

Each is a function put beside the operator, called with what flows in and with all parameters. What an operator promises
is told by its docstring, and by a function only where it depends on the parameters.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rxpipe.operator import Operator, operator_of

Level = Literal["exactly-once", "idempotent", "at-least-once", "at-most-once", "shown"]

_STATED = re.compile(r"^(?:Delivery|Guarantee):\s+([\w-]+)\b[:.,]?\s*(.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_STATE = re.compile(r"^State:", re.MULTILINE)

IN_ORDER = ""
"""What an order rule gives for an operator whose records are in order, whatever the order in which they came."""


class Promise(NamedTuple):
    """What becomes of the data of a source, step or sink when a run ends at any moment and goes on.

    Attributes:
        level: For a source or sink how often each element counts; a step that says so weakens what came, or makes it
            good (`exactly-once`, which only steps say that go back to an offset of their own).
        why: The reason, for people.
    """

    level: Level
    why: str


@dataclass(frozen=True)
class Inflow:
    """What flows into a step.

    Attributes:
        element: The type of the elements; None into a source.
        disorder: Why records may come out of order; None where they do not.
        streams: The names of the graph's streams, which its tables have.
    """

    element: Any = None
    disorder: str | None = None
    streams: tuple[str, ...] = ()

    def has(self, kind: type) -> bool:
        """Whether elements of a type are among what flows in, as far as that is known."""
        return any(isinstance(part, type) and issubclass(part, kind) for part in parts_of(self.element))


class Lint(NamedTuple):
    """Something in a step that is allowed, and seldom meant.

    Attributes:
        name: What is wrong, by which it can be allowed: a word or two with `_` between them.
        message: What will happen, and what to do.
        path: The parameter to point at.
    """

    name: str
    message: str
    path: tuple[str | int, ...] = ()


def pattern_lint(pattern: str, *path: str | int) -> Iterable[Lint]:
    """Warn of a regular expression, given as a parameter, that may take time without end."""
    from rxpipe.expressions.backtracking import backtracks  # few graphs have patterns

    if backtracks(pattern):
        must = (
            "a line that does not match may take longer than anybody waits; let it give back nothing, as (?>…) or *+ do"
        )
        yield Lint("backtracks", f"the pattern has a repetition within a repetition: {must}", path)


PromiseRule = Callable[..., Promise | None]
OrderRule = Callable[..., str | None]
LintRule = Callable[..., Iterable[Lint]]
CostRule = Callable[..., Callable[[dict[str, Any]], Awaitable[float | None]]]


def promise_of(function: Callable[..., Any]) -> Callable[[PromiseRule], PromiseRule]:
    """Say what an operator promises: put this before a rule `(inflow, /, **parameters) -> Promise | None`.

    Only where it depends on the parameters; else the docstring says it, in `Delivery:` for a sink and in `Guarantee:`
    for any other: the level, and behind a colon why. None is as if nothing was said.
    """
    made = operator_of(function)

    def declare(rule: PromiseRule) -> PromiseRule:
        made.promise_rule = rule
        return rule

    return declare


def order_of(function: Callable[..., Any]) -> Callable[[OrderRule], OrderRule]:
    """Say that an operator changes the order of records: put this before a rule `(inflow, /, **parameters)`.

    The rule gives why records come out of order behind the operator, None where it leaves their order as it is, or
    `IN_ORDER`. Without a rule an operator leaves it as it is.
    """
    made = operator_of(function)

    def declare(rule: OrderRule) -> OrderRule:
        made.order_rule = rule
        return rule

    return declare


def lints_of(function: Callable[..., Any]) -> Callable[[LintRule], LintRule]:
    """Warn of an operator's parameters: put this before a rule `(inflow, /, **parameters) -> lints`."""
    made = operator_of(function)

    def declare(rule: LintRule) -> LintRule:
        made.lint_rule = rule
        return rule

    return declare


def cost_of(function: Callable[..., Any]) -> Callable[[CostRule], CostRule]:
    """Say what an operator will have to pay: put this before a rule `(context, /, **parameters)`.

    The rule gives an async function from a record to dollars, None where nobody knows, which calls nothing.
    """
    made = operator_of(function)

    def declare(rule: CostRule) -> CostRule:
        made.cost_rule = rule
        return rule

    return declare


def promise(operator: Operator, inflow: Inflow, parameters: typing.Mapping[str, Any]) -> Promise | None:
    """What an operator promises with these parameters; of a source there is always something to be said."""
    if operator.promise_rule is not None:
        found: Promise | None = operator.promise_rule(inflow, **operator.with_defaults(parameters))
        return found
    stated = _STATED.search(operator.doc)
    if stated is not None and stated[1] in typing.get_args(Level):
        level: Any = stated[1]
        return Promise(level, _first_sentence(stated[2]))
    if not operator.is_source:
        return None
    if _STATE.search(operator.doc):
        return Promise("exactly-once", "it goes back to its saved position")
    return Promise("at-most-once", "it remembers nothing that it could go back to")


def parts_of(element: Any) -> tuple[Any, ...]:
    """The types that a type of elements is made of."""
    return typing.get_args(element) or (element,)


def _first_sentence(text: str) -> str:
    """The first sentence, as the end of another one."""
    words = " ".join(text.split())
    sentence = re.split(r"[.;:](?:\s|$)", words, maxsplit=1)[0]
    return sentence[:1].lower() + sentence[1:]
