"""Summarise records by the time they belong to."""
