"""Ends what the tests have started when whoever ran them is gone, however they went: SIGKILL lets nobody tidy up.

`Keeper()` starts a process that holds the other end of a pipe. When the pipe breaks, this process ends everything that
was started since (it carries a mark in its environment), stops each PostgreSQL that it was told of, and removes the
folders. Run by itself, with nothing but the standard library, so that it is there at once.
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "TESTS_OF_BELLCRIER"  # what begins with its name is a setting
OUTSIDE = f"{MARK}_OUTSIDE"
SERVER = f"{MARK}_SERVER"  # where a PostgreSQL runs that all may share
PROC = Path("/proc")
MARKED: dict[str, str] = {}  # for the environment of a process that is not to have the whole of ours
LONG_ENOUGH = 5.0  # seconds for one process to end


class Keeper:
    """Tells the process beside this one what there is to remove."""

    def __init__(self) -> None:
        mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        theirs, self._pipe = os.pipe()
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        command = [sys.executable, "-S", "-E", __file__, mark]
        to_stdin = [(os.POSIX_SPAWN_DUP2, theirs, 0)]
        os.posix_spawn(sys.executable, command, unmarked, file_actions=to_stdin, setsid=True)
        os.close(theirs)
        os.environ[MARK] = MARKED[MARK] = mark  # of whatever is started from now on

    def keep(self, folder: str) -> None:
        """Remove this folder in the end, and stop the PostgreSQL that has its data there."""
        os.write(self._pipe, f"{folder}\n".encode())


def begin() -> tuple[Keeper, str]:
    """Whatever makes a folder from now on, a browser too, makes it in one that is removed in the end; and where folders
    are made that are to stay."""
    keeper, outside = Keeper(), os.environ.setdefault(OUTSIDE, tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="bell-", dir=outside)  # short: sockets lie there
    keeper.keep(folder)
    Path(folder).chmod(0o711)  # PostgreSQL may be another user
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", outside)  # pytest keeps its last folders, to be looked at
    os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="run-")  # private; else the PostgreSQL wheel warns
    return keeper, outside


def marked(mark: str) -> Iterator[int]:
    """The processes that were started with this mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is somebody else's
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)


def end_marked(mark: str) -> None:
    """Again until there is none: what is ended may just be starting another one."""
    gives_up = time.monotonic() + LONG_ENOUGH
    while (found := list(marked(mark))) and time.monotonic() < gives_up:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def stop_server(data: Path) -> None:
    """At once, as by a power cut; and only what works in this very folder."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return

    def works_here() -> bool:
        try:
            return os.readlink(PROC / str(pid) / "cwd") == str(data.resolve())
        except OSError:
            return False

    for number in (signal.SIGQUIT, signal.SIGKILL):
        if not works_here():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        wait_while(works_here)


def wait_while(so: Callable[[], bool]) -> None:
    gives_up = time.monotonic() + LONG_ENOUGH
    while so() and time.monotonic() < gives_up:
        time.sleep(0.05)


def main(mark: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folders = [Path(line.rstrip("\n")) for line in sys.stdin]  # ends when the other end of the pipe is gone
    for folder in folders:
        stop_server(folder)
    end_marked(mark)
    for folder in folders:
        stop_server(folder)  # one that was just starting
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
