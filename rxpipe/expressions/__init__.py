"""The expression language: a whitelisted subset of Python, compiled once to loops over records."""

from rxpipe.expressions.parser import Expression, parse

__all__ = ["Expression", "parse"]
