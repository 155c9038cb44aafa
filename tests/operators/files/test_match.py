"""Glob patterns."""

from __future__ import annotations

import re

import pytest

from rxpipe.operators.files._match import Matcher, translate


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.log", "a.log", True),
        ("*.log", "sub/a.log", True),
        ("*.log", "a.log.1", False),
        ("?.log", "ab.log", False),
        ("sub/*.log", "sub/a.log", True),
        ("sub/*.log", "sub/x/a.log", False),
        ("sub/**/*.log", "sub/a.log", True),
        ("sub/**/*.log", "sub/x/y/a.log", True),
        ("**/a.log", "a.log", True),
        ("sub/**", "sub/x/y", True),
        ("/a.log", "sub/a.log", False),
        ("/a.log", "a.log", True),
        ("[ab].log", "b.log", True),
        ("[!ab].log", "b.log", False),
        ("[a-c].log", "b.log", True),
        ("[", "[", True),
        ("a+b(c).log", "a+b(c).log", True),
        ("ä*.log", "äö.log", True),
        ("A.log", "a.log", False),
    ],
)
def test_patterns(pattern: str, path: str, *, matches: bool) -> None:
    matcher = Matcher([pattern])
    assert matcher.file(path.rpartition("/")[2], path) is matches


def test_nothing_ignored_is_entered() -> None:
    matcher = Matcher(["*"], ["node_modules/", "a/b"])
    assert not matcher.folder("node_modules", "x/node_modules")
    assert not matcher.folder("b", "a/b")
    assert matcher.folder("b", "b")


@pytest.mark.parametrize("odd", ["[]]", "[!]]", "[^a]", "[a&&b]", "[[]", "[\\]", "\\", "***", "[]"])
def test_odd_patterns_make_valid_expressions(odd: str) -> None:
    re.compile(translate(odd))
