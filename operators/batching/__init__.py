"""Gather elements into batches."""
