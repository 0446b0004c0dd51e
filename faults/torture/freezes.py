"""A process that stands still at a step of an exchange, past its lease: another one takes over, then it wakes up.

Two servers of one database. The first stops itself (SIGSTOP) at the step, the callers of the other go on asking, and
after a minute the first goes on (SIGCONT) as if nothing had happened. What it still does must overwrite nothing that
is newer and drop nothing.

Where it stood `after_answer`, the new token was in its memory alone: the other one can only send the old one again,
which is lost if the provider takes none twice. At every other step nothing may be lost whatever the provider does.
"""

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from faults.harness import Bench
from faults.load import eventually
from faults.switchboard import Switchboard
from faults.torture import aftermath, neighbours
from faults.torture.victims import GONE, Victim, call, recover, refresh, sign_in
from tests.postgres import PostgresServer
from tests.sandboxed import Sandbox, serving_sandbox

FREEZE_SECONDS = 60.0
GRACES = (0, 60)
ACCESS_SECONDS = 1
PAUSE_SECONDS = 0.25


@dataclass
class Thaw:
    """What came of one: until the other process had a token, and token requests beyond the first of a generation."""

    label: str
    grace_seconds: int
    takeover_seconds: float | None = None
    double_dials: int = 0
    lost: bool = False


async def freeze(bench: Bench, server: PostgresServer, label: str, grace_seconds: int) -> Thaw:
    """One freeze at one step."""
    thaw = Thaw(label, grace_seconds)
    folder = bench.folder / f"{label}-{grace_seconds}"
    folder.mkdir()
    options = {"access_seconds": ACCESS_SECONDS, "grace_seconds": grace_seconds}
    async with neighbours.database(server) as url, serving_sandbox(**options) as sandbox:
        first, second = servers = await neighbours.prepared(folder, url, 2, hands=True)
        async with neighbours.up(servers):
            victim = await sign_in(first, sandbox, "c0")
            await stand_still(bench, thaw, victim, first, second)
            verdicts = [await recover(one, victim) for one in servers]
        said = f"{label}, grace {grace_seconds}: "
        thaw.lost = bool(victim.family.revoked) or verdicts != ["well", "well"]
        thaw.double_dials = sum(count - 1 for count in victim.family.requests.values())
        bench.ran()
        excused = grace_seconds == 0 and label == "after_answer"
        bench.check(excused or not thaw.lost, f"{said}{verdicts}, family: {victim.family.revoked}")
        bench.check(excused or thaw.takeover_seconds is not None, f"{said}nobody took over in {FREEZE_SECONDS} s")
        for what in await left_by(folder, url, victim, servers, sandbox):
            bench.check(False, said + what)
    return thaw


async def stand_still(bench: Bench, thaw: Thaw, victim: Victim, first: Switchboard, second: Switchboard) -> None:
    for one in (first, second):
        status = await call(one, victim)
        bench.check(status == 200, f"{thaw.label}: {status} before anything stood still")
    await asyncio.sleep(ACCESS_SECONDS)
    await first.do("strike", label=thaw.label, times=1, after_seconds=0.0, number=signal.SIGSTOP)
    caller = asyncio.create_task(keep_refreshing(first, victim))
    stood = await eventually(lambda: first.seen.status() == psutil.STATUS_STOPPED, 10)
    began = time.monotonic()
    bench.check(stood is not None, f"{thaw.label} was not reached")
    caller.cancel()
    while (stands := time.monotonic() - began) < FREEZE_SECONDS:
        with suppress(*GONE):
            if await call(second, victim) == 200 and thaw.takeover_seconds is None:
                thaw.takeover_seconds = stands
        await asyncio.sleep(PAUSE_SECONDS)
    first.seen.send_signal(signal.SIGCONT)


async def keep_refreshing(switchboard: Switchboard, victim: Victim) -> None:
    while True:
        with suppress(*GONE):
            await refresh(switchboard, victim)


async def left_by(folder: Path, url: str, victim: Victim, servers: list[Switchboard], sandbox: Sandbox) -> list[str]:
    found = await aftermath.looked_over(folder / "data", [victim.kept], database_url=url)
    found += [said for one in servers for said in one.surprises()]
    files = [*aftermath.files_of(folder / "data"), *(one.log for one in servers)]
    return found + await asyncio.to_thread(aftermath.in_clear, sandbox.server, files)
