"""Names of processes, and what a process that holds secrets leaves behind when it crashes."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from quart_app.process import is_gone, no_core_dumps, process_name, started

MOST = "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)"
PR_GET_DUMPABLE = 3

linux = pytest.mark.skipif(sys.platform != "linux", reason="what core dumps need is told by Linux only")


def test_a_process_knows_itself_and_the_dead() -> None:
    assert not is_gone(process_name())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    name = f"{socket.gethostname()}:{ended.pid}:{started(ended.pid)}"
    ended.wait()
    assert is_gone(name)
    assert started(ended.pid) == ""


def test_a_process_that_took_over_a_number_is_another_one() -> None:
    assert is_gone(f"{socket.gethostname()}:{os.getpid()}:1")


def test_a_process_of_another_host_is_not_ours_to_judge() -> None:
    assert not is_gone("elsewhere.example:1:1")
    assert is_gone("elsewhere.example:1:1", alone=True), "no other host has the same database"
    assert not is_gone(process_name(), alone=True)


def test_a_process_that_ended_and_was_not_asked_about_yet_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        name = f"{socket.gethostname()}:{child.pid}:{started(child.pid)}"
        assert not is_gone(name)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(name)


@linux
def test_whoever_opens_the_vault_has_core_dumps_off(tmp_path: Path) -> None:
    code = f"""
import asyncio, ctypes, resource
from quart_app.services import open_services
from quart_app.settings import load_settings
def told(): return ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0]
async def work():
    async with open_services(load_settings({{"data": {str(tmp_path / "data")!r}}}, {{}})):
        print(*told())
{MOST}
print(told()[0])
asyncio.run(work())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "0"]


@linux
def test_a_process_may_still_be_measured_by_itself_and_by_others() -> None:
    """`/metrics` counts its own open files; memory, and when it started, are read by others of its user."""
    no_core_dumps()
    assert os.listdir("/proc/self/fd")
    assert int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() > 0
    assert started(os.getpid())
