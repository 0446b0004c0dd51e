"""This process and others of its host: their names, and what must not be seen of this one."""

import ctypes
import os
import resource
import socket
import sys
from pathlib import Path

PR_SET_DUMPABLE = 4
"""prctl(2), from linux/prctl.h."""


def process_name() -> str:
    """Names this process among all that ever share the database: `host:pid:start`."""
    return f"{socket.gethostname()}:{os.getpid()}:{started(os.getpid())}"


def started(pid: int) -> str:
    """When a process of this host started, in ticks since the boot (proc(5)); empty for one that is gone.

    One that has ended and that its parent has not asked about yet (a zombie) is gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def is_gone(process: str, *, alone: bool = False) -> bool:
    """Whether a process of this host, by its name, runs no more; one of another host is not ours to judge.

    `alone`: no other host can have the same database (SQLite), so that one of another host's name is gone: a
    container has a new name each time it is made.
    """
    host, _, rest = process.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname():
        return alone
    return process.rpartition(":")[2] != started(int(rest))


def no_core_dumps() -> None:
    """A crash leaves no memory behind: no core file, and on Linux none for a program that collects them either.

    The limit of core files does not hold where the system hands them to a program (core(5)), so on Linux the process
    is not dumpable as well. Other processes of its user can then read neither its memory nor its environment, which
    may hold the sealing key, and no debugger attaches without being root (PR_SET_DUMPABLE in prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
