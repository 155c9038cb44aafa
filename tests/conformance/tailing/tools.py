"""One adapter per tool: how it is started, what it delivered, and what it said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.conformance.tailing.judge import Name, names_in
from tests.conformance.tailing.writer import filler

HERE = Path(__file__).parent
PEERS = HERE.parents[2] / ".venv-bench"
"""The environment of the peers, which `make conformance` makes."""
_PEER_PYTHON = PEERS / "bin" / "python"

UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Before a command that root runs: what has the permissions of files hold for it, too."""


class Place(NamedTuple):
    """Where one run of a scenario keeps what belongs to it."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The folder that is followed."""
        return self.folder / "logs"

    @property
    def sink(self) -> Path:
        """The folder that is delivered into."""
        return self.folder / "sink"

    @property
    def state(self) -> Path:
        """The folder of what the tool knows."""
        return self.folder / "state"

    @property
    def said(self) -> Path:
        """What the tool printed."""
        return self.folder / "said.txt"


class Setting(NamedTuple):
    """What a scenario wants of a tool: which files, and (of rxpipe) the parameters of its two steps."""

    pattern: str = "*.log*"
    watch: Mapping[str, object] = {}
    read: Mapping[str, object] = {}


class Tool(Protocol):
    """A tool that follows files.

    Attributes:
        name: What it is called.
        patience: Seconds without anything new after which nothing more is expected of it.
        warm_up: Seconds after a start that do not count.
    """

    name: str
    patience: float
    warm_up: float

    def version(self) -> str | None:
        """Its version; None where it is not installed."""
        ...

    def prepare(self, place: Place, setting: Setting) -> None:
        """Write down what it needs before its first start."""
        ...

    def command(self, place: Place, setting: Setting) -> list[str]:
        """How it is started; it ends on SIGTERM."""
        ...

    def main_file(self, place: Place) -> Path:
        """The file it delivers into, with a line for each record at least."""
        ...

    def delivered(self, place: Place) -> dict[str, Iterator[Name | bytes]]:
        """What each of its sinks holds, in order."""
        ...


def start(tool: Tool, place: Place, setting: Setting, descriptors: int) -> subprocess.Popen[bytes]:
    """Start a tool, which may not read what nobody may, also where root tests it."""
    command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *tool.command(place, setting)]
    if os.geteuid() == 0 and shutil.which(UNPRIVILEGED[0]):
        command = [*UNPRIVILEGED, *command]
    with place.said.open("ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, cwd=place.folder)


GRAPH = """
graph: tailing
settings: {{checkpoint: 50ms}}
streams:
  records:
    - watch: {{paths: [{logs}], patterns: ["{pattern}"]{watch}}}
    - read_lines{read}
    - parse_json:
        fields:
          log: log
          file: {{path: file, type: int}}
          n: {{path: n, type: int}}
          size: {{path: size, type: int}}
          text: text
  lines: [{{from: records}}, {{to_jsonl: {{path: {sink}/out.jsonl}}}}]
  rows: [{{from: records}}, {{to_sqlite: {{path: {sink}/out.db, table: records}}}}]
  problems: [{{from: errors}}, {{to_jsonl: {{path: {folder}/errors.jsonl}}}}]
"""


class Rxpipe:
    """`rxpipe run` of a graph with two sinks that promise each record once."""

    name = "rxpipe"
    patience = 20.0
    warm_up = 0.0

    def version(self) -> str | None:
        """This checkout's."""
        import rxpipe

        return rxpipe.__version__

    def prepare(self, place: Place, setting: Setting) -> None:
        """Write the graph."""
        graph = GRAPH.format(
            logs=place.logs,
            sink=place.sink,
            folder=place.folder,
            pattern=setting.pattern,
            watch="".join(f", {name}: {value}" for name, value in setting.watch.items()),
            read=": {" + ", ".join(f"{name}: {value}" for name, value in setting.read.items()) + "}"
            if setting.read
            else "",
        )
        (place.folder / "graph.yaml").write_text(graph)

    def command(self, place: Place, setting: Setting) -> list[str]:
        """As a person types it."""
        graph, state = str(place.folder / "graph.yaml"), str(place.state / "state.db")
        return [sys.executable, "-m", "rxpipe", "run", graph, "--state", state]

    def main_file(self, place: Place) -> Path:
        """The JSON lines."""
        return place.sink / "out.jsonl"

    def delivered(self, place: Place) -> dict[str, Iterator[Name | bytes]]:
        """The JSON lines, and the rows of the database."""
        return {"to_jsonl": names_in(_lines(self.main_file(place))), "to_sqlite": self._rows(place.sink / "out.db")}

    def _rows(self, path: Path) -> Iterator[Name | bytes]:
        if not path.exists():
            return
        with closing(sqlite3.connect(path)) as db:
            try:
                for log, file, number, size, text in db.execute(
                    "SELECT log, file, n, size, text FROM records ORDER BY _rowid"
                ):
                    yield (log, file, number) if text == filler(number, size) else repr(text).encode()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise

    def told(self, place: Place) -> str:
        """The stream of errors, and the log."""
        return _text(place.folder / "errors.jsonl") + _text(place.said)


class Peer:
    """A tool that runs in an environment of its own, by the script of its name."""

    patience = 8.0
    warm_up = 8.0

    def __init__(self, name: str) -> None:
        self.name = name

    def version(self) -> str | None:
        """What is installed in its environment."""
        if not _PEER_PYTHON.exists():
            return None
        look = f"import importlib.metadata as m; print(m.version({self.name!r}))"
        found = subprocess.run([_PEER_PYTHON, "-c", look], capture_output=True, text=True, check=False)
        return found.stdout.strip() or None

    def prepare(self, place: Place, setting: Setting) -> None:
        """Nothing is needed."""

    def command(self, place: Place, setting: Setting) -> list[str]:
        """The peer's script."""
        script = HERE / "peers" / f"{self.name}_tail.py"
        return [
            str(_PEER_PYTHON),
            str(script),
            *map(str, (place.logs, setting.pattern, place.sink, place.state)),
        ]

    def main_file(self, place: Place) -> Path:
        """Its lines."""
        return place.sink / "out.txt"

    def delivered(self, place: Place) -> dict[str, Iterator[Name | bytes]]:
        """Its lines."""
        return {"lines": names_in(_lines(self.main_file(place)))}


class Pathway(Peer):
    """Pathway takes rows back, and adds them anew where it reads a file again: what it added last counts, once."""

    warm_up = 45.0

    def delivered(self, place: Place) -> dict[str, Iterator[Name | bytes]]:
        """The lines without those that were taken back and added again; what is taken back for good was delivered."""
        changes = [(line[:1], line[1:]) for line in _lines(self.main_file(place))]
        added = Counter(line for change, line in changes if change == b"+")
        back = Counter(line for change, line in changes if change == b"-")
        again = {line: min(back[line], number - 1) for line, number in added.items()}
        standing: list[bytes] = []
        for change, line in changes:
            if change == b"+" and again[line]:
                again[line] -= 1
            elif change == b"+":
                standing.append(line)
        return {"lines": names_in(standing)}


def peers() -> list[Tool]:
    """All peers, installed or not."""
    return [Peer("bytewax"), Pathway("pathway"), Peer("streamz")]


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from file


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
