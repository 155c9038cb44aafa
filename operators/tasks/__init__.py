"""Work that takes long and costs: tasks, limits, calls, budgets, and reports of them."""
