"""Work that takes long and costs: a durable store of tasks, and what steps tell it of each attempt."""
