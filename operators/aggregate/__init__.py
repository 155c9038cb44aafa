"""Summarise records into live tables."""
