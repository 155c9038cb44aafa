"""`watch` with real notifications: each test waits for what must come, with a deadline."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from reactivex import operators as rxo
from reactivex.scheduler import EventLoopScheduler

from rxpipe import Graph
from rxpipe.context import Context, entered
from rxpipe.elements import FileEvent, LineDelta, OriginGone
from rxpipe.errors import RunError
from rxpipe.operators.files import _notify
from rxpipe.operators.files._notify import Inotify, NotifyError
from rxpipe.operators.files._scan import Scanner
from rxpipe.operators.files._ticker import Ticker
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.operators.files.watch import watch

DEADLINE = 10


class Recording(Context):
    """A context that keeps the details."""

    def __init__(self) -> None:
        super().__init__()
        self.details: dict[str, Callable[[], Any]] = {}

    def describe(self, name: str, read: Callable[[], Any]) -> None:
        """Keep a detail."""
        self.details[name] = read


class Live:
    """What has come so far, and waiting for more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[Any] = []
        self.news = asyncio.Event()
        self.context = Recording()

    def note(self, element: Any) -> None:
        """Take an element."""
        self.seen.append(element._replace(lease=None) if isinstance(element, LineDelta) else element)
        self.news.set()

    def words(self) -> list[str]:
        """The events in words."""
        return [
            f"{event.kind} {event.path.removeprefix(f'{self.folder}/')}"
            for event in self.seen
            if isinstance(event, FileEvent)
        ]

    def lines(self) -> list[bytes]:
        """The lines read."""
        return b"".join(element.data for element in self.seen if isinstance(element, LineDelta)).splitlines()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def live(folder: Path, *, read: bool = False, **options: Any) -> AsyncIterator[Live]:
    found = Live(folder)
    with entered(found.context):
        source = watch(**({"paths": [str(folder)], "rescan": "1h", "backend": "inotify"} | options))
        stream = source.pipe(read_lines()) if read else source
        subscription = stream.subscribe(found.note)
    # the first scan, a turn of the loop each, and the watches it sets
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    yield found
    subscription.dispose()


def recent(found: Live, word: str) -> bool:
    """Whether something happened just now."""
    return word in found.words()[-2:]


def append(path: Path) -> None:
    """Write one more line."""
    with path.open("a") as file:
        file.write("2\n")


def test_every_kind_of_event(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("1\n")
        async with live(tmp_path) as found:
            await found.until(lambda: found.words() == ["create a"])
            assert found.context.details["watch"]()["backend"] == "inotify"
            for change, word in (
                (lambda: append(tmp_path / "a"), "modify a"),
                (lambda: (tmp_path / "b").write_text("1\n"), "create b"),
                (lambda: (tmp_path / "b").rename(tmp_path / "c"), "rename c"),
                (lambda: (tmp_path / "a").write_text(""), "truncate a"),
                ((tmp_path / "c").unlink, "delete c"),
            ):
                change()
                await found.until(partial(recent, found, word))

    asyncio.run(main())


def test_folders_come_move_and_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(tmp_path) as found:
            (tmp_path / "x" / "y").mkdir(parents=True)
            (tmp_path / "x" / "y" / "f").write_text("f")
            await found.until(lambda: found.words() == ["create x/y/f"])
            (tmp_path / "x").rename(tmp_path / "z")
            await found.until(lambda: found.words()[-1] == "rename z/y/f")
            with (tmp_path / "z" / "y" / "f").open("a") as file:
                file.write("more")
            await found.until(lambda: found.words()[-1] == "modify z/y/f")
            shutil.rmtree(tmp_path / "z")
            await found.until(lambda: found.words()[-1] == "delete z/y/f")

    asyncio.run(main())


def test_a_root_that_goes_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        root = tmp_path / "a" / "b"
        async with live(root) as found:
            root.mkdir(parents=True)
            (root / "f").write_text("f")
            await found.until(lambda: found.words() == ["create f"])
            shutil.rmtree(tmp_path / "a")
            await found.until(lambda: found.words()[-1] == "delete f")
            root.mkdir(parents=True)
            (root / "g").write_text("g")
            await found.until(lambda: found.words()[-1] == "create g")

    asyncio.run(main())


def test_single_files_and_links_to_files_outside(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "logs").mkdir()
        (tmp_path / "outside").write_text("1\n")
        (tmp_path / "logs" / "link").symlink_to(tmp_path / "outside")
        (tmp_path / "single").write_text("1\n")
        async with live(tmp_path, paths=[str(tmp_path / "logs"), str(tmp_path / "single")]) as found:
            await found.until(lambda: found.words() == ["create logs/link", "create single"])
            for target, word in (("outside", "modify logs/link"), ("single", "modify single")):
                with (tmp_path / target).open("a") as file:
                    file.write("2\n")
                await found.until(partial(recent, found, word))
            (tmp_path / "single").unlink()
            await found.until(lambda: found.words()[-1] == "delete single")
            (tmp_path / "single").write_text("3\n")
            await found.until(lambda: found.words()[-1] == "create single")

    asyncio.run(main())


def test_a_writer_at_full_speed_with_rotations(tmp_path: Path) -> None:
    written = [b"%d" % number for number in range(20_000)]

    def write() -> None:
        for start in range(0, len(written), 500):
            with (tmp_path / "x.log").open("ab", buffering=0) as file:
                for line in written[start : start + 500]:
                    file.write(line + b"\n")
            if start % 2000 == 1500:
                for old in range(start // 2000, 0, -1):
                    (tmp_path / f"x.log.{old}").rename(tmp_path / f"x.log.{old + 1}")
                (tmp_path / "x.log").rename(tmp_path / "x.log.1")

    async def main() -> None:
        async with live(tmp_path, read=True) as found:
            writer = threading.Thread(target=write)
            writer.start()
            await found.until(lambda: len(found.lines()) >= len(written))
            writer.join()
            assert sorted(found.lines()) == sorted(written)
            assert not [element for element in found.seen if isinstance(element, OriginGone)]

    asyncio.run(main())


def test_a_burst_of_files_and_no_doubles(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(tmp_path, read=True) as found:
            for number in range(100):
                (tmp_path / f"{number}").write_text(f"{number}\n")
            await found.until(lambda: len(found.lines()) >= 100)
            assert sorted(map(int, found.lines())) == list(range(100))

    asyncio.run(main())


def test_the_rescan_finds_what_was_not_notified(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(tmp_path, rescan="20ms") as found:
            original = Inotify._deliver
            Inotify._deliver = lambda self: self._read.clear()
            try:
                (tmp_path / "f").write_text("f")
                await found.until(lambda: found.words() == ["create f"])
            finally:
                Inotify._deliver = original
            assert found.context.details["watch"]()["missed"] == 1

    asyncio.run(main())


def test_rescans_share_what_is_quiet_until_one_finds_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[int] = []
    sweep, deliver = Scanner.sweep, Inotify._deliver

    def noted(self: Scanner, paths: Any, found: Any, listed: Any, turn: int, turns: int) -> Any:
        shares.append(turns)
        return sweep(self, paths, found, listed, turn, turns)

    monkeypatch.setattr(Scanner, "sweep", noted)
    (tmp_path / "f").write_text("f")
    os.utime(tmp_path / "f", (1, 1))

    async def main() -> None:
        async with live(tmp_path, rescan="20ms") as found, asyncio.timeout(DEADLINE):
            while 6 not in shares:
                await asyncio.sleep(0.005)
            assert shares == [1, 1, 1, 6]
            monkeypatch.setattr(Inotify, "_deliver", lambda self: self._read.clear())
            append(tmp_path / "f")
            while "modify f" not in found.words():
                await asyncio.sleep(0.005)
            monkeypatch.setattr(Inotify, "_deliver", deliver)
            since = len(shares)
            while len(shares) < since + 4:
                await asyncio.sleep(0.005)
            assert (shares[since - 1], shares[since : since + 4]) == (6, [1, 1, 1, 6])

    asyncio.run(main())


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No notification is heard."""
    monkeypatch.setattr(Inotify, "_deliver", lambda self: self._read.clear())


MISSED: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "create": (lambda at: (at / "x" / "new").write_text("n"), ["create x/new"]),
    "create in a new folder": (lambda at: shutil.copytree(at / "x", at / "y" / "z"), ["create y/z/a", "create y/z/b"]),
    "modify": (lambda at: append(at / "x" / "a"), ["modify x/a"]),
    "truncate": (lambda at: (at / "x" / "a").write_text(""), ["truncate x/a"]),
    "delete": (lambda at: (at / "x" / "a").unlink(), ["delete x/a"]),
    "delete a folder": (lambda at: shutil.rmtree(at / "x"), ["delete x/a", "delete x/b"]),
    "rename": (lambda at: (at / "x" / "a").rename(at / "x" / "c"), ["rename x/c"]),
    "rename into another folder": (lambda at: (at / "x" / "a").rename(at / "y" / "c"), ["rename y/c"]),
    "rename a folder": (lambda at: (at / "x").rename(at / "w"), ["rename w/a", "rename w/b"]),
    "rename over another": (lambda at: (at / "x" / "a").rename(at / "x" / "b"), ["delete x/b", "rename x/b"]),
    "replace": (lambda at: (at / "aside").rename(at / "x" / "a"), ["replace x/a"]),
    "replace a folder": (lambda at: exchange(at / "x", at / ".other"), ["replace x/a", "delete x/b"]),
}


def exchange(path: Path, other: Path) -> None:
    """Another folder comes in the place of one."""
    path.rename(path.parent / ".before")
    other.rename(path)


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("what", MISSED)
def test_the_rescan_finds_each_kind_of_change_in_folders_it_does_not_list(tmp_path: Path, what: str) -> None:
    change, words = MISSED[what]
    for path in ("x/a", "x/b", "y/d", ".other/a", "aside"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1\n")
    for folder in (tmp_path / "x", tmp_path / "y", tmp_path / ".other", tmp_path):
        os.utime(folder, (1, 1))  # long ago, so that its time is trusted

    async def main() -> None:
        async with live(tmp_path, rescan="20ms", ignore=["aside"]) as found:
            await found.until(lambda: len(found.words()) == 3)
            change(tmp_path)
            await found.until(lambda: sorted(found.words()[3:]) == sorted(words))
            assert found.context.details["watch"]()["missed"] == len(words)

    asyncio.run(main())


def test_lost_notifications_lead_to_a_scan_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(tmp_path) as found:
            original = Inotify._deliver

            def overflow(self: Inotify) -> None:
                self._read.clear()
                self._hints(set(), True)

            Inotify._deliver = overflow
            try:
                (tmp_path / "f").write_text("f")
                await found.until(lambda: found.words() == ["create f"])
            finally:
                Inotify._deliver = original

    asyncio.run(main())


def test_the_overflow_of_the_queue_is_recognised(tmp_path: Path) -> None:
    calls: list[tuple[AbstractSet[str], bool]] = []
    notify = Inotify(lambda call: None, lambda paths, lost: calls.append((paths, lost)))
    notify._read.append(_notify._HEADER.pack(-1, _notify._IN_Q_OVERFLOW, 0, 0))
    notify._deliver()
    notify.close()
    notify.close()
    assert calls == [(set(), True)]


def waiting_threads() -> int:
    """Those that wait for notifications."""
    return sum(thread.name == "rxpipe-inotify" for thread in threading.enumerate())


def test_without_a_running_loop_a_thread_of_its_own_serves(tmp_path: Path) -> None:
    scheduler = EventLoopScheduler()
    news = threading.Event()
    seen: list[Any] = []

    def note(element: Any) -> None:
        seen.append(element)
        news.set()

    subscription = watch([str(tmp_path)], backend="inotify", rescan="1h").subscribe(note, scheduler=scheduler)
    (tmp_path / "f").write_text("f")
    assert news.wait(DEADLINE)
    assert seen[0].path == str(tmp_path / "f")
    assert waiting_threads() == 1
    subscription.dispose()
    assert waiting_threads() == 0
    scheduler.dispose()


def test_no_instance_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    from watchdog.observers import inotify_c

    def none_left() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_init", none_left)
    with pytest.raises(
        NotifyError, match=r"limit of inotify instances is reached; raise fs\.inotify\.max_user_instances"
    ):
        Inotify(lambda call: call(), lambda paths, lost: None)


def test_no_descriptor_left_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(_notify, "Ticker", none_left)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotifyError, match=r"^no descriptor to wait for notifications: Too many open files$"):
        Inotify(lambda call: call(), lambda paths, lost: None, loop=Loop())  # type: ignore[arg-type]  # as much of a loop as is used
    assert len(os.listdir("/proc/self/fd")) <= before


def test_mounts_with_spaces_and_without_a_list(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "a share"
    mounts.write_text(f"/dev/x / ext4 rw 0 0\nhost:/x {str(share).replace(' ', chr(92) + '040')} cifs rw 0 0\n")
    assert _notify.silent_filesystem(str(share / "deep"), str(mounts)) == "cifs"
    assert _notify.silent_filesystem(str(tmp_path / "a"), str(mounts)) is None
    assert _notify.silent_filesystem(str(share), str(tmp_path / "none")) is None


def test_a_running_loop_waits_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(tmp_path) as found:
            assert waiting_threads() == 0
            append(tmp_path / "a")
            await found.until(lambda: "create a" in found.words())

    asyncio.run(main())


class Loop:
    """The part of a loop that waits for descriptors, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.readers: dict[int, Callable[[], None]] = {}

    def time(self) -> float:
        return self.now

    def add_reader(self, fd: int, call: Callable[[], None]) -> None:
        self.readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def wait(self, fd: int) -> None:
        """Until there is something to read, and have it read."""
        assert select.select([fd], [], [], DEADLINE)[0]
        self.readers[fd]()


def test_what_comes_within_a_rest_is_taken_together(tmp_path: Path) -> None:
    loop, calls = Loop(), list[AbstractSet[str]]()
    notify = Inotify(lambda call: call(), lambda paths, lost: calls.append(paths), 0.01, loop)  # type: ignore[arg-type]  # as much of a loop as is used
    notify.add(str(tmp_path))
    (tick,) = loop.readers.keys() - {notify._fd}
    append(tmp_path / "a")
    loop.wait(notify._fd)
    assert calls == [{str(tmp_path / "a")}]
    loop.now = 0.004
    append(tmp_path / "a")
    append(tmp_path / "b")
    loop.wait(notify._fd)
    assert (len(calls), [*loop.readers]) == (1, [tick])
    loop.wait(tick)
    assert calls[1:] == [{str(tmp_path / "a"), str(tmp_path / "b")}]
    append(tmp_path / "a")  # as long as there is something in each rest, ticks alone have it taken
    loop.wait(tick)
    assert (calls.pop(), [*loop.readers]) == ({str(tmp_path / "a")}, [tick])
    loop.wait(tick)
    assert (len(calls), [*loop.readers]) == (2, [tick, notify._fd])
    loop.now = 2.2
    append(tmp_path / "c")
    loop.wait(notify._fd)
    assert (calls[2:], [*loop.readers]) == ([{str(tmp_path / "c")}], [tick, notify._fd])
    notify.close()
    assert loop.readers == {}


def test_the_same_hints_are_of_another_path_once_that_changed(tmp_path: Path) -> None:
    calls: list[AbstractSet[str]] = []
    notify = Inotify(lambda call: call(), lambda paths, lost: calls.append(paths), loop=Loop())  # type: ignore[arg-type]  # as much of a loop as is used
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    append(folder / "a")
    for path in (folder, link, folder):  # to the kernel they are one, with one number
        notify.add(str(path))
        for _ in range(2):
            append(folder / "a")
            notify._take()
            assert calls[-1] == {str(path / "a")}
    notify.close()


def test_ticks_come_until_they_are_stopped() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ticks: asyncio.Queue[None] = asyncio.Queue()
        ticker = Ticker(loop, lambda: ticks.put_nowait(None))
        ticker.start(0.0001, 0.0005)
        for _ in range(3):
            await asyncio.wait_for(ticks.get(), DEADLINE)
        ticker.stop()
        while not ticks.empty():
            ticks.get_nowait()
        ready = asyncio.Event()
        loop.call_later(0.005, ready.set)  # ten ticks
        await ready.wait()
        assert ticks.empty()
        ticker.close()

    asyncio.run(main())


def test_what_a_step_raises_on_a_notification_stops_the_run(tmp_path: Path) -> None:
    watched = threading.Event()

    def refuse(element: Any) -> Any:
        if element.kind == "modify":
            msg = "no modifications here"
            raise LookupError(msg)
        watched.set()
        return element

    append(tmp_path / "a")
    graph = Graph("g", {"events": [watch([str(tmp_path)], backend="inotify"), rxo.map(refuse)]})
    with pytest.raises(RunError, match=r"events\[1\].*no modifications here"), graph.run() as run:
        assert watched.wait(DEADLINE)
        append(tmp_path / "a")
        run.wait(DEADLINE)
