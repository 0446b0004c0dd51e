"""Servers as child processes: each in a process group of its own, and none of them left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRATCH = Path(__file__).resolve().parent / ".scratch"
OPEN_FILES = 8192  # 1,000 callers are 2,000 sockets in the server, and every server needs some more
STOP_SECONDS = 15.0
READY_SECONDS = 60.0

# Opens a URL without the proxy that the environment may name: everything here is on loopback.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BenchmarkError(Exception):
    """The benchmark cannot go on; the text says why, to a person."""


@dataclass(frozen=True)
class Child:
    """A running server; its process id is also the id of its group."""

    process: subprocess.Popen[bytes]
    log: Path

    def peak_mb(self) -> float:
        """The sum of the peaks (VmHWM) of the group's processes; pages they share count in each."""
        return sum(_peak_kib(pid) for pid in _group(self.process.pid)) * 1024 / 1e6

    def last_words(self) -> str:
        """The end of the log, for a message about a server that failed."""
        return self.log.read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Child]:
    """Run a server for the length of the block; its output goes to `log`, its group ends with it."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**clean_environment(), **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield Child(process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader to end, so that it may finish its records; then kill what is left of the group."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def wait_ready(child: Child, url: str) -> None:
    """Return when `url` answers 200; raise BenchmarkError if the server ends first or is not up in time."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            raise BenchmarkError(f"The server ended before it was up. It said:\n{child.last_words()}")
        with contextlib.suppress(OSError, urllib.error.URLError), direct.open(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise BenchmarkError(f"The server was not up in {READY_SECONDS:.0f} s. It said:\n{child.last_words()}")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """The environment without what would change a subject: an HTTP proxy, or settings of Switchboard."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("SWITCHBOARD_")
    }


def raise_open_files() -> None:
    """Lift the soft limit of open files for this process and its children, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def end_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that the `finally` above also runs when a supervisor stops us."""
    signal.signal(signal.SIGTERM, lambda *_: exit(143))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes with the block; beside the code, where a commit reaches a disk and not memory."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)


def need(tool: str, package: str) -> str:
    """The path of a program, or a BenchmarkError that names the Debian package to install."""
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise BenchmarkError(f"`{tool}` is needed and is not installed. On Debian: apt-get install {package}")
    return found


def _group(leader: int) -> list[int]:
    """The processes of a group; the fields of /proc/<pid>/stat stand behind the name in parentheses."""
    members = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
            if fields and int(fields[2]) == leader:
                members.append(int(entry.name))
    return members


def _peak_kib(pid: int) -> int:
    """VmHWM of one process, in KiB; 0 if it has just ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
