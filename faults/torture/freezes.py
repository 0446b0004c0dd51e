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

import psutil

from faults.harness import Bench
from faults.load import eventually
from faults.switchboard import Switchboard
from faults.torture import neighbours
from faults.torture.victims import GONE, Victim, call, keep_refreshing, recover, sign_in
from tests.postgres import PostgresServer
from tests.sandboxed import serving_sandbox

FREEZE_SECONDS = 60.0
GRACES = (0, 60)
ACCESS_SECONDS = 1
PAUSE_SECONDS = 0.25
KEPT = ("record_failed",)
"""PostgreSQL ends a session that stands still in a transaction; what was in it is written once more."""


@dataclass
class Thaw:
    """What came of one: until the other process had a token, and token requests beyond the first of a generation."""

    label: str
    grace_seconds: int
    takeover_seconds: float | None = None
    double_dials: int = 0
    lost: bool = False

    @property
    def may_lose(self) -> bool:
        """The token was in the memory of the stopped process alone, and the provider takes none twice."""
        return self.grace_seconds == 0 and self.label == "after_answer"


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
        bench.check(thaw.may_lose or not thaw.lost, f"{said}{verdicts}, family: {victim.family.revoked}")
        bench.check(thaw.may_lose or thaw.takeover_seconds is not None, f"{said}nobody took over in {FREEZE_SECONDS} s")
        for what in await neighbours.left_by(servers, url, [victim], sandbox, KEPT):
            bench.check(False, said + what)
    return thaw


async def stand_still(bench: Bench, thaw: Thaw, victim: Victim, first: Switchboard, second: Switchboard) -> None:
    for one in (first, second):
        status = await call(one, victim)
        bench.check(status == 200, f"{thaw.label}: {status} before anything stood still")
    await asyncio.sleep(ACCESS_SECONDS)
    await first.do("strike", label=thaw.label, times=1, after_seconds=0.0, number=signal.SIGSTOP)
    caller = asyncio.create_task(keep_refreshing(first, victim), name="caller")
    stood = await eventually(lambda: first.seen.status() == psutil.STATUS_STOPPED, 10)
    began = time.monotonic()
    bench.check(stood is not None, f"{thaw.label} was not reached")
    caller.cancel()
    await asyncio.sleep(2 * ACCESS_SECONDS)  # until no access token is good that the other one may still have
    while time.monotonic() - began < FREEZE_SECONDS:
        with suppress(*GONE):
            if await call(second, victim) == 200 and thaw.takeover_seconds is None:
                thaw.takeover_seconds = time.monotonic() - began
        await asyncio.sleep(PAUSE_SECONDS)
    first.seen.send_signal(signal.SIGCONT)
