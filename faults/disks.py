"""A small disk of its own under a server's data folder, which can be full to its last byte."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faults.harness import Bench
from faults.switchboard import Switchboard

MIB = 1024**2
SIZE_MIB = 96
"""Readiness wants 64 MiB to be free."""

HOLD = f'cd "$1" && mount -t tmpfs -o size={SIZE_MIB}m tmpfs "$1" && cp -a . "$1" && echo held && exec cat'
"""The old folder is still the one that the shell is in when the new disk lies over it; `cat` ends with its stdin."""

BALLAST = "ballast"


class NotMounted(Exception):
    """The system lets nobody but root mount anything, not even in a namespace of its own."""


@asynccontextmanager
async def on_small_disk(bench: Bench, kept: Sequence[str] = ()) -> AsyncIterator[tuple[Switchboard, Path]]:
    """A server as `bench.serving` has it, with a hand, on such a disk; and its folder as it is seen from here."""
    hand = bench.folder / "hand"
    switchboard = bench.switchboard(hand=("--hand", str(hand)))
    switchboard.hand = hand
    async with mounted(switchboard.data) as (prefix, seen):
        switchboard.command = (*prefix, *switchboard.command)
        async with switchboard.up():
            yield switchboard, seen
    for said in switchboard.looked_over(kept):
        bench.check(False, said)


@asynccontextmanager
async def mounted(folder: Path) -> AsyncIterator[tuple[tuple[str, ...], Path]]:
    """A tmpfs over a folder, with what is in it, in a mount namespace of its own, for which nobody has to be root.

    Gives what a program is started through to be in there, and the folder as it is seen from outside; at the end all
    that is on it is in the folder itself. Raises NotMounted.
    """
    holder = await asyncio.create_subprocess_exec(
        *("unshare", "-Urm", "sh", "-c", HOLD, "sh", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if await holder.stdout.readline() != b"held\n":
            raise NotMounted("No file system can be mounted here: `unshare -Urm` is not allowed.")
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials")
        seen = Path(f"/proc/{holder.pid}/root{folder}")
        yield (*enter, f"--wd={os.getcwd()}", "--"), seen
        free(seen)
        shutil.copytree(seen, folder, dirs_exist_ok=True)
    finally:
        holder.stdin.close()
        await holder.wait()


def fill(folder: Path) -> None:
    """Takes what is free on the disk of a folder, to the last byte."""
    file = os.open(folder / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (MIB, 4096, 1):
            while True:
                try:
                    os.write(file, bytes(size))
                except OSError:
                    break
    finally:
        os.close(file)


def free(folder: Path) -> None:
    (folder / BALLAST).unlink(missing_ok=True)
