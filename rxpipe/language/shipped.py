"""The graphs that come with the package, found by name."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from rxpipe.errors import GraphError, Problem, did_you_mean, nearest

SUFFIXES = (".yaml", ".yml")


@cache
def folder() -> Path:
    """The folder of the shipped graphs."""
    beside = Path(__file__).parents[1] / "graphs"
    if beside.is_dir():
        return beside
    spec = importlib.util.find_spec("rxpipe.graphs")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else beside


def names() -> list[str]:
    """The names of the shipped graphs."""
    return sorted(file.stem for file in folder().glob("*.yaml"))


def is_shipped(file: str | None) -> bool:
    """Whether a graph's file is a shipped one; a graph made in Python has none, and is not."""
    return file is not None and Path(file).resolve().parent == folder().resolve()


def find(source: str | Path) -> Path:
    """The file of a graph, given by its path, or by the name of a shipped graph.

    Raises:
        GraphError: There is none; the nearest name is suggested.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if isinstance(source, str) and not path.suffix and len(path.parts) == 1:
        if source in names():
            return folder() / f"{source}.yaml"
        local = [found.stem for suffix in SUFFIXES for found in Path().glob(f"*{suffix}")]
        if source in local:
            path = next(Path().glob(f"{source}.y*ml"))
            raise GraphError([Problem(f"no shipped graph is called {source!r}, did you mean the file {str(path)!r}?")])
        guess = nearest(source, names())
        tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, names())) or 'none'}"
        raise GraphError([Problem(f"no file and no shipped graph is called {source!r}{tail}")])
    if path.is_dir():
        raise GraphError([Problem(f"{path}: must be a graph file; got a folder")])
    if path.exists():
        raise GraphError([Problem(f"{path}: must be a graph file; got a pipe, a device or a socket")])
    beside = [found.name for found in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    guess = nearest(path.name, beside)
    raise GraphError([Problem(f"{path}: no such file{did_you_mean(guess and str(path.parent / guess))}")])
