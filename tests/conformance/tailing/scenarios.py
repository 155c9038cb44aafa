"""What happens to log files, as data: the steps of a writer and of who runs the tool, and what must hold afterwards.

Every record written must be in every sink as often as it was written and in the order of its file. What a scenario
says besides is how rxpipe must tell of what is unusual (`tells`), that the order holds over all files of a log
(`across`), and why some records cannot be asked for (`limit`; the steps that write them say `sure=False`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tests.conformance.tailing.tools import Setting


class Step(NamedTuple):
    """One thing to do: by the writer (a method of `writer.Writer`), or by the driver (one of `drive._Driver`)."""

    what: str
    given: dict[str, Any]
    writes: bool


class Larger(NamedTuple):
    """A number that is smaller where the suite must be quick."""

    quick: int
    full: int


class Scenario(NamedTuple):
    """What happens, and what must hold.

    Attributes:
        group: Which of the ten groups it belongs to.
        name: Its name.
        what: What happens, in one sentence.
        does: The steps.
        setting: Which files are meant, and how rxpipe is to watch and read them.
        tells: What must be found in the error records or the log of rxpipe, each a regular expression.
        across: Whether the order holds over all files of a log.
        limit: Why the records written with `sure=False` cannot be asked for.
        logs_exist: Whether the folder is there at the beginning.
    """

    group: int
    name: str
    what: str
    does: Sequence[Step]
    setting: Setting = Setting()
    tells: Sequence[str] = ()
    across: bool = False
    limit: str = ""
    logs_exist: bool = True

    def steps(self, full: bool) -> list[Step]:
        """The steps, in one of the two sizes."""
        return [
            step._replace(given={name: _sized(value, full=full) for name, value in step.given.items()})
            for step in self.does
        ]


def _sized(value: Any, *, full: bool) -> Any:
    return (value.full if full else value.quick) if isinstance(value, Larger) else value


def _made(what: str, writes: bool, **given: Any) -> Step:
    return Step(what, given, writes)


class _Steps:
    """`do.rename(path=…)` is the step of that name."""

    def __init__(self, writes: bool) -> None:
        self._writes = writes

    def __getattr__(self, name: str) -> Callable[..., Step]:
        return partial(_made, name, self._writes)


GROUPS = {
    1: "written in pieces",
    2: "rotated while followed",
    3: "rotated and compressed while not followed",
    4: "truncated and rewritten",
    5: "taken for another file",
    6: "removed, and made again",
    7: "killed, told to end, started twice",
    8: "large and strange content",
    9: "told of late, or not at all",
    10: "refused by the system",
}

write = _Steps(writes=True)
tool = _Steps(writes=False)
START, STOP, KILL, SETTLE = tool.start(), tool.stop(), tool.kill(), tool.settle()
PAUSE, GO_ON = tool.pause(), tool.go_on()


def append(path: str, count: int | Larger = 50, **given: Any) -> Step:
    """Append records to a file of the logs."""
    return write.append(path=f"logs/{path}", count=count, **given)


A, B = "logs/a.log", "logs/b.log"

SCENARIOS = [
    # 1. appended in pieces
    Scenario(
        1,
        "torn writes",
        "Records are written in pieces that end anywhere, also within a character.",
        [START, append("a.log", 300, torn=True), append("b.log", 300, torn=True), SETTLE, append("a.log", torn=True)],
    ),
    Scenario(
        1,
        "line finished later",
        "The last line has no newline and ends within a character, for a while.",
        [START, append("a.log"), write.half(path=A), append("b.log"), SETTLE, write.rest(path=A), append("a.log")],
    ),
    Scenario(
        1,
        "line finished after a restart",
        "The last line is finished while the tool does not run.",
        [START, append("a.log"), write.half(path=A), SETTLE, STOP, write.rest(path=A), append("a.log"), START],
    ),
    Scenario(
        1,
        "line finished after a kill",
        "The tool is killed while the last line is unfinished.",
        [START, append("a.log"), write.half(path=A), SETTLE, KILL, START, write.rest(path=A), append("a.log")],
    ),
    # 2. rotated while running
    Scenario(
        2,
        "rotation",
        "`x.log` becomes `x.log.1`, and there is a new `x.log`.",
        [START, append("a.log"), SETTLE, write.rotate(path=A), append("a.log"), write.rotate(path=A), append("a.log")],
    ),
    Scenario(
        2,
        "rotation at full speed",
        "The same several times within a second, while the writer writes all the time.",
        [START, append("a.log"), SETTLE, tool.write_for(path=A, seconds=Larger(1, 20), rotate=400)],
    ),
    Scenario(
        2,
        "rotation within a line",
        "The writer finishes its line in the file that has been renamed.",
        [
            *(START, append("a.log"), SETTLE, write.half(path=A), write.rotate(path=A), append("a.log"), SETTLE),
            *(write.rest(path=f"{A}.1"), append("a.log.1", 5), append("a.log", 5)),
        ],
    ),
    Scenario(
        2,
        "rotation out of the pattern",
        "The name after a rotation does not match; what is left is read from the open file.",
        [
            START,
            append("a.log"),
            SETTLE,
            append("a.log"),
            SETTLE,
            write.rename(path=A, to="logs/old/a.1"),
            append("a.log"),
        ],
        Setting(pattern="*.log"),
    ),
    # 3. rotated while stopped
    Scenario(
        3,
        "rotated while stopped",
        "Three generations are rotated while the tool does not run.",
        [
            *(START, append("a.log"), SETTLE, STOP, append("a.log"), write.rotate(path=A), append("a.log", 400)),
            *(write.rotate(path=A), append("a.log"), write.rotate(path=A), append("a.log"), START),
        ],
        Setting(read={"block": "4KB"}),
        across=True,
    ),
    Scenario(
        3,
        "rotated after a kill",
        "The same after `kill -9`.",
        [
            *(START, append("a.log"), SETTLE, append("a.log"), KILL, append("a.log"), write.rotate(path=A)),
            *(append("a.log"), write.rotate(path=A), append("a.log"), START),
        ],
        across=True,
    ),
    Scenario(
        3,
        "compressed while stopped",
        "Two generations are rotated and compressed while the tool does not run, the older one half read.",
        [
            *(START, append("a.log", 100), SETTLE, STOP, append("a.log"), write.rotate(path=A), append("a.log")),
            *(write.compress(path=f"{A}.1"), write.rotate(path=A), write.compress(path=f"{A}.1"), append("a.log")),
            START,
        ],
        across=True,
    ),
    Scenario(
        3,
        "compressed while running",
        "What was rotated is compressed while it is followed.",
        [
            *(START, append("a.log", 100), SETTLE, write.rotate(path=A), append("a.log"), SETTLE),
            *(write.compress(path=f"{A}.1"), append("a.log"), SETTLE, STOP, append("a.log"), START),
        ],
    ),
    # 4. truncated
    Scenario(
        4,
        "copy and truncate",
        "The file is copied and cut to nothing, and its writer goes on.",
        [
            *(START, append("a.log"), SETTLE, write.copy(path=A, to=f"{A}.1"), write.truncate(path=A)),
            *(append("a.log", 20), SETTLE, write.truncate(path=A), append("a.log", 80)),
        ],
        Setting(pattern="*.log"),
    ),
    Scenario(
        4,
        "truncated, same first line",
        "The file is cut to nothing and begins again with the line it began with.",
        [
            *(START, write.header(path=A, size=2000), append("a.log"), SETTLE, PAUSE, write.truncate(path=A)),
            *(write.header(path=A, size=2000), append("a.log", 20), GO_ON),
        ],
    ),
    Scenario(
        4,
        "truncated, then longer",
        "Between two looks the file is cut to nothing and becomes longer than it was.",
        [START, append("a.log"), SETTLE, PAUSE, write.truncate(path=A), append("a.log", 200), GO_ON],
    ),
    Scenario(
        4,
        "truncated, same first line, longer",
        "Both of them.",
        [
            *(START, write.header(path=A, size=2000), append("a.log"), SETTLE, PAUSE, write.truncate(path=A)),
            *(write.header(path=A, size=2000), append("a.log", 200), GO_ON),
        ],
    ),
    Scenario(
        4,
        "truncated while stopped",
        "The file is cut to nothing and becomes longer while the tool does not run.",
        [START, append("a.log"), SETTLE, STOP, write.truncate(path=A), append("a.log", 200), START],
    ),
    Scenario(
        4,
        "truncated unseen",
        "Records are written and cut off between two looks.",
        [
            START,
            append("a.log"),
            SETTLE,
            PAUSE,
            append("a.log", sure=False),
            write.truncate(path=A),
            append("a.log"),
            GO_ON,
        ],
        limit="nobody who looks at the file later can know what stood in it",
    ),
    # 5. taken for another
    Scenario(
        5,
        "inode reused",
        "A file is removed, and a new one gets its inode.",
        [START, append("a.log"), append("c.log"), SETTLE, write.reuse(path=A, to=B), append("b.log", 80)],
    ),
    Scenario(
        5,
        "inode reused while stopped",
        "The same while the tool does not run, by a file that is longer.",
        [START, append("a.log"), append("c.log"), SETTLE, STOP, write.reuse(path=A, to=B), append("b.log", 80), START],
    ),
    Scenario(
        5,
        "inode reused, same name",
        "The file is removed and made again under its name, with its inode.",
        [
            START,
            append("a.log"),
            SETTLE,
            STOP,
            write.reuse(path=A, to=A),
            append("a.log", 80),
            START,
            SETTLE,
            write.reuse(path=A, to=A),
            append("a.log", 20),
        ],
    ),
    Scenario(
        5,
        "same first lines",
        "Two files begin with the same 2,000 bytes.",
        [
            *(START, write.header(path=A, size=2000), append("a.log"), SETTLE, write.header(path=B, size=2000)),
            *(append("b.log"), SETTLE, KILL, append("a.log"), append("b.log"), START),
        ],
    ),
    Scenario(
        5,
        "hard link",
        "A file gets a second name, and loses the first.",
        [
            *(START, append("a.log"), SETTLE, write.link(path=A, to=B), append("a.log"), SETTLE),
            *(write.rename(path=A, to="a.gone"), write.append(path="a.gone", count=50)),
        ],
        Setting(watch={"rescan": "1s"}),  # what is written by a name elsewhere is not notified here
    ),
    Scenario(
        5,
        "symbolic link re-pointed",
        "A link points to a file elsewhere, then to another one.",
        [
            *(
                write.append(path="a.first", count=50),
                write.symlink(path="logs/current.log", to="a.first"),
                START,
                SETTLE,
            ),
            *(write.append(path="a.first", count=50), SETTLE, write.append(path="a.second", count=30)),
            *(write.symlink(path="logs/current.log", to="a.second"), write.append(path="a.second", count=50)),
        ],
    ),
    Scenario(
        5,
        "symbolic link re-pointed while stopped",
        "The same while the tool does not run.",
        [
            *(
                write.append(path="a.first", count=50),
                write.symlink(path="logs/current.log", to="a.first"),
                START,
                SETTLE,
            ),
            *(STOP, write.append(path="a.second", count=80), write.symlink(path="logs/current.log", to="a.second")),
            START,
        ],
    ),
    Scenario(
        5,
        "moved to another folder",
        "A file moves to a folder below, and is written on there.",
        [
            START,
            append("a.log"),
            SETTLE,
            write.rename(path=A, to="logs/done/a.log"),
            append("done/a.log"),
            SETTLE,
            STOP,
            write.rename(path="logs/done/a.log", to="logs/later/a.log"),
            append("later/a.log"),
            START,
        ],
    ),
    # 6. removed
    Scenario(
        6,
        "removed while being read",
        "A file is removed while it is read; the others are read on.",
        [
            *(append("a.log", Larger(5000, 200_000), together=100, sure=False), START, append("b.log"), SETTLE),
            *(write.remove(path=A), append("b.log")),
        ],
        limit="of a file that is gone nobody can read what he has not opened",
    ),
    Scenario(
        6,
        "removed and made again",
        "A file is removed, and made again under its name.",
        [
            START,
            append("a.log"),
            SETTLE,
            write.remove(path=A),
            append("a.log", 20),
            SETTLE,
            write.remove(path=A),
            append("a.log", 80),
        ],
    ),
    Scenario(
        6,
        "folder that comes later",
        "The folder is not there at first.",
        [
            START,
            tool.until_told(pattern="does not exist; waiting for it"),
            write.create(path=A, parents=True),
            append("a.log"),
            SETTLE,
            append("a.log"),
        ],
        tells=[r"logs does not exist; waiting for it"],
        logs_exist=False,
    ),
    Scenario(
        6,
        "folder that is removed",
        "The folder is removed with all that is in it, and made again.",
        [
            START,
            append("a.log"),
            SETTLE,
            write.remove_folder(path="logs"),
            write.create(path=A, parents=True),
            append("a.log", 80),
        ],
    ),
    Scenario(
        6,
        "folder that is renamed",
        "A folder below is renamed, and its file is written on.",
        [
            write.create(path="logs/x/a.log", parents=True),
            START,
            append("x/a.log"),
            SETTLE,
            write.move_folder(path="logs/x", to="logs/y"),
            append("y/a.log"),
        ],
    ),
    # 7. killed
    Scenario(
        7,
        "killed",
        "`kill -9` at random moments, while a writer writes torn lines and rotates.",
        [tool.storm(path=A, times=Larger(4, 300), sharp=True, rotate=2000)],
    ),
    Scenario(
        7,
        "killed, rotated and compressed",
        "The same, while what was rotated twice is compressed.",
        [tool.storm(path=A, times=Larger(4, 100), sharp=True, rotate=500, compress=True)],
    ),
    Scenario(
        7,
        "told to end",
        "SIGTERM at random moments, while a writer writes torn lines and rotates.",
        [tool.storm(path=A, times=Larger(3, 200), sharp=False, rotate=2000)],
    ),
    Scenario(
        7,
        "state removed",
        "What the tool knows is removed with what it delivered: all is delivered again.",
        [START, append("a.log"), SETTLE, STOP, tool.lose_state(), tool.empty_sink(), append("a.log"), START],
    ),
    Scenario(
        7,
        "state removed while running",
        "What the tool knows is removed while it runs: it is written anew, and the next run goes on from it.",
        [
            *(START, append("a.log"), SETTLE, tool.lose_state(), append("a.log"), SETTLE),
            *(tool.until_told(pattern="written anew"), append("a.log"), SETTLE, KILL, append("a.log"), START),
        ],
        tells=["was removed while this run uses it; it was written anew"],
    ),
    Scenario(
        7,
        "state of an older version",
        "The state file says that another version wrote it: refused, with what to do, and left as it was.",
        [
            START,
            append("a.log"),
            SETTLE,
            STOP,
            tool.age_state(),
            append("a.log"),
            START,
            tool.refused(),
            tool.renew_state(),
            START,
        ],
        tells=[r"format must be 1; got 0"],
    ),
    Scenario(
        7,
        "two runs",
        "A second run with the same state is refused and names the first one, which goes on.",
        [START, append("a.log"), SETTLE, tool.second_run(), append("a.log")],
    ),
    # 8. large and strange
    Scenario(
        8,
        "many files",
        "So many small files that they cannot all be open: 20,000.",
        [
            START,
            write.many(folder="logs/many", files=Larger(400, 20_000), count=5),
            SETTLE,
            STOP,
            append("a.log"),
            START,
        ],
    ),
    Scenario(
        8,
        "large file",
        "One file of 5 GB.",
        [append("a.log", Larger(300, 57_000), size=40_000, together=4), START, SETTLE, KILL, append("a.log"), START],
    ),
    Scenario(
        8,
        "line that is too long",
        "A line of 100 MB stands between others.",
        [
            *(
                START,
                append("a.log"),
                write.raw(path=A, data="#bad"),
                write.long_line(path=A, size=Larger(3 << 20, 100 << 20)),
            ),
            *(append("a.log"), SETTLE),
        ],
        Setting(read={"max_line": "2MB"}),
        tells=[r'line of \d+ bytes: at most max_line[^\n]*a\.log","start":\d+,"end":\d+'],
    ),
    Scenario(
        8,
        "NUL bytes",
        "There are NUL bytes in a line, as after a crash of the writer's machine.",
        [START, append("a.log"), write.raw(path=A, data="\0" * 5000 + "#bad\n"), append("a.log")],
        tells=[r'a\.log","start":\d+,"end":\d+'],
    ),
    Scenario(8, "CRLF", "Lines end with CR and LF.", [START, append("a.log", end="\r\n", torn=True)]),
    Scenario(
        8,
        "byte order mark",
        "The file begins with a byte order mark.",
        [START, write.raw(path=A, data="\xef\xbb\xbf"), append("a.log"), SETTLE, STOP, append("a.log"), START],
    ),
    Scenario(
        8,
        "invalid UTF-8",
        "There are bytes that are no UTF-8.",
        [
            START,
            append("a.log"),
            write.raw(path=A, data='{"log":"#bad \xff\xfe"}\n'),
            append("a.log"),
            SETTLE,
            append("a.log"),
        ],
        tells=[r'a\.log","start":\d+,"end":\d+'],
    ),
    Scenario(
        8,
        "empty lines",
        "There are empty lines, also at the beginning and at the end.",
        [
            START,
            write.raw(path=A, data="\n\n"),
            append("a.log"),
            write.raw(path=A, data="\n \n\n"),
            append("a.log"),
            write.raw(path=A, data="\n"),
        ],
    ),
    Scenario(
        8,
        "no newline at all",
        "The last record has no newline, and none comes.",
        [
            START,
            append("a.log"),
            append("b.log"),
            SETTLE,
            STOP,
            write.unended(path=A),
            START,
            append("b.log"),
            tool.drained(),
        ],
        Setting(read={"last_line": "emit"}),
    ),
    # 9. seen late or not at all
    Scenario(
        9,
        "polling",
        "The file system does not notify.",
        [
            *(START, append("a.log", torn=True), SETTLE, write.rotate(path=A), append("a.log"), SETTLE),
            *(write.truncate(path=A), append("a.log", 20), SETTLE, append("a.log")),
        ],
        Setting(watch={"backend": "polling", "poll": "100ms"}),
    ),
    Scenario(
        9,
        "notifications lost",
        "So much happens that the kernel's queue overflows; what is written meanwhile is told of by nothing else.",
        [
            *(START, append("a.log"), append("b.log"), SETTLE, PAUSE, write.churn(paths=[A, B], times=9000)),
            *(append("c.log"), write.rotate(path=A), append("a.log"), GO_ON),
        ],
        tells=["notifications were lost"],
    ),
    Scenario(
        9,
        "clock set back",
        "The time of change goes back by an hour with each write.",
        [
            START,
            append("a.log", mtime="back"),
            SETTLE,
            append("a.log", mtime="back"),
            SETTLE,
            STOP,
            append("a.log", mtime="back"),
            START,
        ],
    ),
    Scenario(
        9,
        "time of change as it was",
        "Writes leave the time of change as it was.",
        [
            START,
            append("a.log"),
            SETTLE,
            append("a.log", mtime="kept"),
            SETTLE,
            STOP,
            append("a.log", mtime="kept"),
            START,
            SETTLE,
            append("a.log", mtime="kept"),
        ],
    ),
    Scenario(
        9,
        "changed in place, unseen",
        "A byte amid what was read is changed; size and time of change stay as they were.",
        [START, append("a.log"), SETTLE, STOP, write.overwrite(path=A), START, append("a.log")],
        limit="what stands in the place of what was read is no new record, and is not looked for",
    ),
    # 10. refused
    Scenario(
        10,
        "permission",
        "A file may not be read, and later may.",
        [
            *(
                write.permit(path=A, mode=0),
                append("a.log"),
                append("b.log"),
                START,
                tool.until_told(pattern="cannot be read.*a.log"),
            ),
            *(write.permit(path=A, mode=0o644), append("a.log"), SETTLE, append("a.log")),
        ],
        tells=[r'cannot be read: Permission denied[^\n]*a\.log","start":0', r"a\.log can be read again"],
    ),
    Scenario(
        10,
        "descriptors",
        "The limit of open files is reached.",
        [
            tool.start(descriptors=32),
            write.many(folder="logs/many", files=100, count=5),
            append("a.log"),
            SETTLE,
            write.many(folder="logs/many", files=100, count=2),
        ],
    ),
    Scenario(
        10,
        "disk full at the sink",
        "There is no room for what is delivered, then there is.",
        [
            *(tool.small_disk(folder="sink", size="1m"), START, append("a.log"), SETTLE, tool.fill_disk(folder="sink")),
            *(append("a.log", 200), tool.until_told(pattern="No space left|disk is full|disk full"), append("a.log")),
            tool.free_disk(folder="sink"),
        ],
        tells=[r"No space left|disk is full|disk full"],
    ),
    Scenario(
        10,
        "disk full at the state",
        "There is no room for what the tool knows, then there is; it is killed meanwhile.",
        [
            *(
                tool.small_disk(folder="state", size="1m"),
                START,
                append("a.log"),
                SETTLE,
                tool.fill_disk(folder="state"),
            ),
            *(append("a.log", 200), tool.until_told(pattern="checkpoint failed"), SETTLE, KILL),
            *(tool.free_disk(folder="state"), append("a.log"), START),
        ],
        tells=[r"checkpoint failed"],
    ),
    Scenario(
        10,
        "sink removed",
        "What was delivered is moved away from outside: refused, with what to do; it goes on once it is back.",
        [
            *(START, append("a.log"), SETTLE, tool.move_sink(away=True), append("a.log"), tool.refused()),
            *(tool.move_sink(away=False), START),
        ],
        tells=[r"out\.jsonl: must be the file that .* removed"],
    ),
    Scenario(
        10,
        "sink replaced",
        "A copy of what was delivered takes its place while the tool runs.",
        [START, append("a.log"), SETTLE, tool.replace_sink(), append("a.log"), tool.refused(), START],
        tells=[r"out\.jsonl: must be the file that .* replaced"],
    ),
]
