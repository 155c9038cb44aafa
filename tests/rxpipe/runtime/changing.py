"""A graph over a folder that is run once, changed, and run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rxpipe

HEAD = """
graph: changing
streams:
"""
RECORDS = """
  records:
    - watch: {paths: [FOLDER/logs], patterns: ["*.jsonl"]}
    - read_lines
    - parse_json: {fields: {n: {path: n, type: int}}}
"""
KEPT = """
  kept: [{from: records}, {dedupe: n}, {to_jsonl: {path: FOLDER/kept.jsonl}}]
"""


class World:
    """A folder with a log, and the runs over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state.db"
        (folder / "logs").mkdir()
        self.written = 0

    def write(self, count: int) -> None:
        """Append records, numbered on."""
        with (self.folder / "logs" / "a.jsonl").open("a") as file:
            file.writelines(f'{{"n": {n}}}\n' for n in range(self.written, self.written + count))
        self.written += count

    def graph(self, *streams: str) -> rxpipe.Graph:
        return rxpipe.load_text((HEAD + "".join(streams)).replace("FOLDER", str(self.folder)))

    def run(self, *streams: str, **options: Any) -> None:
        with self.graph(*streams).run(once=True, state=self.state, **options) as run:
            run.wait(30)

    def lines(self, name: str = "kept") -> list[int]:
        return [json.loads(line)["n"] for line in (self.folder / f"{name}.jsonl").read_text().splitlines()]
