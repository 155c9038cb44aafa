"""Money is set aside before it is spent: the budget is never passed while estimates are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxpipe.tasks.budget import Budget


@given(
    st.floats(0.1, 20),
    st.lists(st.tuples(st.sampled_from(["give", "ask", "end", "end"]), st.floats(0, 3), st.floats(0, 1)), max_size=80),
)
def test_it_is_never_passed_while_calls_cost_at_most_what_was_estimated(
    most: float, events: list[tuple[str, float, float]]
) -> None:
    budget, under_way, number = Budget("s", most), dict[int, float](), 0
    for what, estimate, share in events:
        if what == "give" and budget.room() >= 1:
            number += 1
            budget.expect(number)
            under_way[number] = 0.0
        elif what == "ask" and under_way:
            task = next(iter(under_way))
            if budget.reserve(task, estimate):
                under_way[task] += estimate
        elif what == "end" and under_way:
            task, reserved = under_way.popitem()
            budget.settle(task, reserved * share)
        assert budget.spent <= most + 1e-6
        assert budget.reserved >= sum(under_way.values()) - 1e-6
    for task, reserved in under_way.items():
        budget.settle(task, reserved)
    assert budget.spent <= most + 1e-6
    assert budget.reserved == 0


def test_the_first_task_goes_alone_while_nobody_knows_what_one_costs() -> None:
    budget = Budget("s", 1.0)
    assert budget.room() == 1
    budget.expect(1)
    assert budget.room() == 0
    budget.settle(1, 0.25)
    assert int(budget.room()) == 3


def test_an_estimate_tells_what_a_task_costs_before_one_is_over() -> None:
    budget = Budget("s", 1.0)
    budget.expect(1)
    assert budget.reserve(1, 0.2)
    assert int(budget.room()) == 4
    assert not budget.reserve(2, 0.9)


def test_what_costs_nothing_is_not_bounded() -> None:
    budget = Budget("s", 1.0)
    budget.expect(1)
    budget.settle(1, 0.0)
    assert budget.room() > 1e9
