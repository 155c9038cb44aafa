"""Real processes for the tests of the command line: with a home of their own, on pipes or on a terminal."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
CONTROL = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b[()=>78].?|([\r\n\b\x07])|([^\x1b\r\n\b\x07]+)|\x1b")

UNFINISHED = re.compile(r"\x1b(\[\??[\d;]*)?$")
"""A control sequence of which the rest has not been read yet."""


def until(condition: Callable[[], object], tell: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, tell()
        time.sleep(0.005)  # between two looks


class Screen:
    """What a terminal shows, as far as rxpipe uses one."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.raw = ""
        self.rows = [""] * height
        self.row = self.column = 0
        self.modes: dict[str, bool] = {}
        self.main: list[str] = []
        """What stands on the main screen; scrolled lines, too."""
        self.spilled: list[str] = []
        """What was written beyond the last column or line of the alternate screen."""

    @property
    def alternate(self) -> bool:
        return self.modes.get("1049", False)

    def feed(self, text: str) -> None:
        self.raw += text
        for private, numbers, letter, control, plain in CONTROL.findall(text):
            if plain:
                self._put(plain)
            elif control:
                self._control(control)
            elif private:
                self._mode(numbers, on=letter == "h")
            else:
                self._move(numbers, letter)

    def _put(self, text: str) -> None:
        if not self.alternate:
            if not self.main:
                self.main.append("")
            self.main[-1] += text
            return
        if self.column + len(text) > self.width or self.row >= self.height:
            self.spilled.append(text)
            return
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[: self.column] + text + row[self.column + len(text) :]
        self.column += len(text)

    def _control(self, control: str) -> None:
        if control == "\n" and not self.alternate:
            self.main.append("")
        elif control == "\n":
            self.row += 1
        elif control == "\r":
            self.column = 0

    def _mode(self, number: str, *, on: bool) -> None:
        self.modes[number] = on
        if number == "1049":
            self.rows = [""] * self.height

    def _move(self, numbers: str, letter: str) -> None:
        if letter == "H":
            row, _, column = (numbers or "1;1").partition(";")
            self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
        elif letter == "J":
            self.rows = [""] * self.height
        elif letter == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]

    def text(self) -> str:
        return "\n".join(self.rows)


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path, size: tuple[int, int]) -> None:
        self.master, slave = pty.openpty()
        self.slave = slave
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.before = termios.tcgetattr(slave)
        self.screen = Screen(*size)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=folder, start_new_session=True
        )

    def read(self) -> Screen:
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            text = self._rest + self._decoder.decode(data)
            cut = UNFINISHED.search(text)
            end = len(text) if cut is None else cut.start()
            self._rest = text[end:]
            self.screen.feed(text[:end])
        return self.screen

    def wait(self, condition: Callable[[Screen], object], deadline: float = DEADLINE) -> Screen:
        until(lambda: condition(self.read()), lambda: f"{self.screen.text()}\n{self.screen.main}", deadline)
        return self.screen

    def end(self, deadline: float = DEADLINE) -> int:
        until(lambda: (self.read(), self.process.poll())[1] is not None, self.screen.text, deadline)
        self.read()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class World:
    """A home with Claude Code's logs, and rxpipe run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "claude"
        self.state = folder / "state"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(self.state),
            "CLAUDE_CONFIG_DIR": str(self.config),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        (folder / "home").mkdir()
        self.number = 0
        self._terminals: list[Terminal] = []
        self._processes: list[subprocess.Popen[str]] = []

    def log(self, output: int = 50, session: str = "s", **changes: object) -> None:
        """Append a response to a session's log."""
        self.number += 1
        usage = {"input_tokens": 10, "output_tokens": output, "cache_read_input_tokens": 1000}
        message = {"id": f"m{self.number}", "model": "claude-opus-4-5-20251101", "usage": usage, "role": "assistant"}
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"timestamp": now, "requestId": "r", "type": "assistant", "message": message, **changes}
        path = self.config / "projects" / "-home-u-alpha" / f"{session}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "rxpipe", *arguments]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run rxpipe to its end on pipes."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(
        self, *arguments: str, stdout: IO[str] | int = PIPE, stderr: IO[str] | int = PIPE, **environ: str
    ) -> subprocess.Popen[str]:
        """Start rxpipe on pipes or files."""
        started = subprocess.Popen(
            self.command(*arguments),
            env=self.environ | environ,
            cwd=self.folder,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )
        self._processes.append(started)
        return started

    def terminal(self, *arguments: str, size: tuple[int, int] = (80, 24), **environ: str) -> Terminal:
        """Start rxpipe on a terminal."""
        made = Terminal(self.command(*arguments), self.environ | environ, self.folder, size)
        self._terminals.append(made)
        return made

    @staticmethod
    def until(condition: Callable[[], object], tell: Callable[[], object]) -> None:
        """Wait for a condition."""
        until(condition, tell)

    def wait_for_state(self) -> None:
        """Wait for the first checkpoint."""

        def saved() -> bool:
            return "read_lines" in self.run("state", "list", "usage").stdout

        until(saved, lambda: list(self.state.rglob("*")))

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
