"""What happens in a test of a graph file, read: its files, what is done to them, and faults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rxpipe.errors import RxpipeError, described, did_you_mean, nearest
from rxpipe.parameters.units import seconds
from rxpipe.testing.cases import Change, Failing, Jump, Kill
from rxpipe.testing.reading import Reader, is_sink

_LONGEST_NAME = 255
"""Bytes of a file's name, that of a folder included."""

_ACTIONS = ("append", "write", "delete", "rename", "truncate")


class HappeningsReader(Reader):
    """Reads what happens in one test."""

    def files(self) -> dict[str, Any] | None:
        """The files that are there before the run; None where the test says nothing of files."""
        if "files" not in self.raw:
            return None
        for name, content in self.mapping("files").items():
            self.file(name, "files", name)
            self.content(content, "files", name)
        return dict(self.mapping("files"))

    def file(self, name: Any, *path: str | int) -> None:
        """Note a name that is no path below the test's folder."""
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        stays = parts and not name.startswith(("/", "~")) and ".." not in parts and "\0" not in name
        if not stays or max(len(part.encode("utf-8", "replace")) for part in parts) > _LONGEST_NAME:
            must = "a file's name must be a path below the test's folder"
            self.note(f"{must}; got {described(name)}", *path, name=True)

    def content(self, content: Any, *path: str | int) -> None:
        """Note what cannot be a file's content."""
        lines = content if isinstance(content, list) else [content]
        if not all(isinstance(line, str | Mapping) for line in lines):
            self.note(f"a file's content must be a text, or a list of records or lines; got {content!r}", *path)

    def changes(self) -> list[Change]:
        """What is done to files."""
        found: list[Change] = []
        for index, item in self.items("changes"):
            path = ("changes", index)
            self.known(item, ("at", *_ACTIONS), "a change", *path)
            actions = [action for action in _ACTIONS if action in item]
            if "at" not in item or len(actions) != 1:
                names = ", ".join(map(repr, _ACTIONS))
                self.note(f"a change has 'at' and one of {names}; got {', '.join(map(repr, item))}", *path)
                continue
            at = self.at(item["at"], *path, "at")
            found += self.change(at, actions[0], item[actions[0]], *path, actions[0])
        return found

    def change(self, at: float, action: Any, what: Any, *path: str | int) -> list[Change]:
        """One action at one time, on each of its files."""
        if action == "delete":
            what = dict.fromkeys(what if isinstance(what, list) else [what])
        if not isinstance(what, Mapping):
            self.note(f"{action}: must be a mapping from files; got {what!r}", *path)
            return []
        for name, value in what.items():
            self.file(name, *path, name)
            if action in ("append", "write"):
                self.content(value, *path, name)
            elif action == "rename":
                self.file(value, *path, name)
            elif action == "truncate" and (type(value) is not int or value < 0):
                self.note(f"truncate: must be a number of bytes; got {value!r}", *path, name)
        return [Change(at, action, str(name), value) for name, value in what.items()]

    def faults(self) -> list[Kill | Jump | Failing]:
        """What goes wrong."""
        found: list[Kill | Jump | Failing] = []
        for index, item in self.items("faults"):
            path = ("faults", index)
            at = self.at(item.get("at", 0), *path, "at")
            match sorted(key for key in item if key != "at"):
                case ["kill"] if "at" not in item:
                    found.append(Kill(self.at(item["kill"], *path, "kill")))
                case ["jump"]:
                    found.append(Jump(at, self.jump(item["jump"], *path, "jump")))
                case ["fails", "sink"]:
                    found += self.failing(at, item, *path)
                case _:
                    must = (
                        "a fault is {kill: TICK}, {sink: STREAM, fails: TIMES} or {jump: DURATION}, these two with 'at'"
                    )
                    self.note(f"{must}; got {dict(item)!r}", *path)
        return found

    def jump(self, value: Any, *path: str | int) -> float:
        """A duration, which may be negative."""
        back = isinstance(value, str) and value.startswith("-")
        try:
            return -seconds(value[1:]) if back else seconds(value)
        except (RxpipeError, TypeError) as error:
            self.note(f"jump: {error}", *path)
            return 0.0

    def failing(self, at: float, item: Mapping[str, Any], *path: str | int) -> list[Failing]:
        """A sink that fails: named by its stream, or by stream and step."""
        name, times = item["sink"], item["fails"]
        if type(times) is not int or times < 1:
            self.note(f"fails: must be how often, a number from 1 on; got {times!r}", *path, "fails")
        sinks = {
            f"{stream}[{index}]": (stream, index)
            for stream, steps in self.section.graph.streams.items()
            for index, step in enumerate(steps)
            if is_sink(step.operator)
        }
        streams = [stream for stream, _ in sinks.values()]
        names = sinks | {stream: found for found in sinks.values() if streams.count(stream := found[0]) == 1}
        if name not in names:
            guess = nearest(str(name), names)
            tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, names)) or 'none'}"
            self.note(f"sink: must name a stream with a sink, or STREAM[STEP]; got {name!r}{tail}", *path, "sink")
            return []
        stream, step = names[name]
        return [Failing(at, stream, step, times if type(times) is int else 1)]
