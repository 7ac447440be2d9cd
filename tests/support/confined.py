"""A process that may write in a few folders alone, as in a container whose root is read-only."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446  # the system calls of Landlock, the same on every architecture
READ = 1 | 4 | 8  # execute, read a file, read a folder
ALL = (1 << 13) - 1  # every right over files of Landlock's first version
NO_NEW_PRIVILEGES, NO_WRITABLE_CODE = 38, 65  # for prctl


def can_confine() -> bool:
    """Whether this kernel has Landlock."""
    return sys.platform == "linux" and int(ctypes.CDLL(None, use_errno=True).syscall(CREATE, None, 0, 1)) > 0


def confined_to(folders: Iterable[Path]) -> Callable[[], None]:
    """For `preexec_fn`: write in these folders, /dev and /proc alone, and never make memory executable that was not.

    The second is what systemd's MemoryDenyWriteExecute asks; a kernel before 6.3 does not know it.
    """
    rules = [(Path("/"), READ), (Path("/dev"), ALL), (Path("/proc"), ALL), *((folder, ALL) for folder in folders)]
    libc = ctypes.CDLL(None, use_errno=True)

    def confine() -> None:
        libc.prctl(NO_WRITABLE_CODE, 1, 0, 0, 0)
        handled = struct.pack("=Q", ALL)
        ruleset = libc.syscall(CREATE, handled, len(handled), 0)
        for folder, rights in rules:
            handle = os.open(folder, os.O_PATH)
            rule = struct.pack("=Qi", rights, handle)
            if libc.syscall(ADD, ruleset, 1, rule, 0) != 0:
                raise OSError(ctypes.get_errno(), f"landlock: {folder}")
            os.close(handle)
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0 or libc.syscall(RESTRICT, ruleset, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock")
        os.close(ruleset)

    return confine
