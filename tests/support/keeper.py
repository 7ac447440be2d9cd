"""Ends what the tests started once their process is gone, even by SIGKILL, which leaves no time to tidy up.

`Keeper()` starts a process that holds the other end of a pipe. When the pipe breaks, that process ends everything that
was started since (which carries a mark in its environment), stops each PostgreSQL that it knows of, and removes the
folders. It runs as a script on the standard library alone, so that it starts at once.
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

MARK = "TESTS_OF_BELLCRIER"  # not `BELLCRIER_…`: what begins with that is a setting
OUTSIDE = f"{MARK}_OUTSIDE"
SERVER = f"{MARK}_SERVER"  # where a shared PostgreSQL runs
PROC = Path("/proc")
MARKED: dict[str, str] = {}  # for a process that must not inherit our whole environment
LONG_ENOUGH = 5.0  # seconds for one process to end


class Keeper:
    """Tells the process beside this one what to remove."""

    def __init__(self) -> None:
        mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        theirs, self._pipe = os.pipe()
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        command = [sys.executable, "-S", "-E", __file__, mark]
        to_stdin = [(os.POSIX_SPAWN_DUP2, theirs, 0)]
        os.posix_spawn(sys.executable, command, unmarked, file_actions=to_stdin, setsid=True)
        os.close(theirs)
        os.environ[MARK] = MARKED[MARK] = mark  # for everything started from now on

    def keep(self, folder: str) -> None:
        """Remove this folder at the end, and stop the PostgreSQL that has its data there."""
        os.write(self._pipe, f"{folder}\n".encode())


def begin() -> tuple[Keeper, str]:
    """Put every temporary folder made from now on, a browser's too, into one that is removed at the end.

    Returns its keeper, and the place for folders that are to stay.
    """
    keeper, outside = Keeper(), os.environ.setdefault(OUTSIDE, tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="bell-", dir=outside)  # a short path, since sockets lie there
    keeper.keep(folder)
    Path(folder).chmod(0o711)  # PostgreSQL may run as another user
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", outside)  # pytest keeps its last folders for inspection
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
    """Kill until none is left: a process may start another one just before it ends."""
    gives_up = time.monotonic() + LONG_ENOUGH
    while (found := list(marked(mark))) and time.monotonic() < gives_up:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def stop_server(data: Path) -> None:
    """Stop the server at once, as by a power cut, and only if it works in this very folder."""
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
        stop_server(folder)  # a server that was just starting
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
