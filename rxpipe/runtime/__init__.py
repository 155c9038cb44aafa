"""A running graph: engine, checkpoints, state file, lifecycle, status, metrics, settings, logs."""
