"""Which files of a watched folder are meant: glob patterns for names and for paths below the folder."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Matcher:
    """Decides by name and path whether a file is watched and a folder entered.

    A pattern without a slash is compared with the name, one with a slash with the whole path below the watched folder.
    `*` and `?` stop at a slash, `**` does not, `[abc]` and `[!abc]` are sets; case counts.

    Args:
        patterns: A file must match one of these.
        ignore: What matches one of these is left out, a folder with all that is in it.
        hidden: Whether names that start with a dot count.
        links: Whether symbolic links in a folder count.
    """

    def __init__(
        self, patterns: Sequence[str], ignore: Sequence[str] = (), *, hidden: bool = False, links: bool = True
    ) -> None:
        self.links = links
        self._everything = "*" in patterns
        self._wanted = _Globs(patterns)
        self._ignored = _Globs(ignore)
        self._hidden = hidden

    def file(self, name: str, relative: str) -> bool:
        """Whether a file with this name and this path below the watched folder is watched."""
        return self.folder(name, relative) and (self._everything or self._wanted.match(name, relative))

    def folder(self, name: str, relative: str) -> bool:
        """Whether a folder is entered."""
        return (self._hidden or not name.startswith(".")) and not self._ignored.match(name, relative)


class _Globs:
    """Some patterns, as one expression for names and one for paths."""

    def __init__(self, patterns: Sequence[str]) -> None:
        bare = [pattern.rstrip("/") for pattern in patterns]
        self._names = _union([pattern for pattern in bare if "/" not in pattern])
        self._paths = _union([pattern.removeprefix("/") for pattern in bare if "/" in pattern])

    def match(self, name: str, relative: str) -> bool:
        """Whether one of the patterns fits."""
        if self._names is not None and self._names.fullmatch(name):
            return True
        return self._paths is not None and self._paths.fullmatch(relative) is not None


def _union(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{translate(pattern)})" for pattern in patterns), re.DOTALL) if patterns else None


_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def translate(pattern: str) -> str:
    r"""A glob pattern as a regular expression.

    Example:
        >>> translate("**/*.log")
        '(?:.*/)?[^/]*\\.log'
    """
    return "".join(_token(token) for token in _TOKEN.findall(pattern))


def _token(token: str) -> str:
    if token[0] == "[" and token not in ("[", "[]", "[!]"):
        inner = (
            token[1:-1]
            .replace("\\", "\\\\")
            .replace("[", "\\[")
            .replace("&", "\\&")
            .replace("~", "\\~")
            .replace("|", "\\|")
        )
        negated, inner = inner.startswith("!"), inner.removeprefix("!")
        if inner.startswith(("]", "^")):
            inner = "\\" + inner
        return f"(?!/)[{'^' if negated else ''}{inner}]"
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return fixed.get(token) or re.escape(token)
