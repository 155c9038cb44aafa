"""Aggregations such as `sum(tokens)`: what a group keeps of its records, and the generated code that keeps it."""
