"""kill -9 of one of two servers of a database, while the other is asked for the same connection's token.

The other one takes over at once, since it sees that the process is gone: what that one had in a slot it has to find
there, because it would lose it by asking the provider again.
"""

import asyncio
import signal
import time
from dataclasses import dataclass, field

from faults.harness import Bench
from faults.load import eventually
from faults.switchboard import Switchboard
from faults.torture import neighbours
from faults.torture.victims import Victim, call, keep_refreshing, recover, sign_in
from tests.postgres import PostgresServer
from tests.sandboxed import serving_sandbox

ACCESS_SECONDS = 1
GRACES = (0, 60)
ROUNDS = 4
DYING_SECONDS = 15.0


@dataclass
class Takeover:
    """What came of one step: how long the other server needed to have a token, and how many were lost."""

    label: str
    grace_seconds: int
    rounds: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def may_lose(self) -> bool:
        """The token was in the memory of the killed process alone, and the provider takes none twice."""
        return self.grace_seconds == 0 and self.label == "after_answer"


async def take_over(
    bench: Bench, server: PostgresServer, label: str, grace_seconds: int, rounds: int = ROUNDS
) -> Takeover:
    """So many kills at one step."""
    taken = Takeover(label, grace_seconds)
    folder = bench.folder / f"{label}-{grace_seconds}"
    folder.mkdir()
    options = {"access_seconds": ACCESS_SECONDS, "grace_seconds": grace_seconds}
    async with neighbours.database(server) as url, serving_sandbox(**options) as sandbox:
        first, second = servers = await neighbours.prepared(folder, url, 2, hands=True)
        victims = []
        async with neighbours.up(servers):
            for number in range(rounds):
                victims.append(await sign_in(second, sandbox, f"c{number}"))
                await kill_one(bench, taken, victims[-1], first, second)
                await asyncio.to_thread(first.start)
        for said in await neighbours.left_by(servers, url, victims, sandbox):
            bench.check(False, f"{label}, grace {grace_seconds}: {said}")
    return taken


async def kill_one(bench: Bench, taken: Takeover, victim: Victim, first: Switchboard, second: Switchboard) -> None:
    await call(first, victim)
    process = first.process
    assert process is not None
    asking = [asyncio.create_task(keep_refreshing(one, victim)) for one in (first, second)]
    await first.do("strike", label=taken.label, times=1, after_seconds=0.0, number=signal.SIGKILL)
    died = await eventually(lambda: process.poll() is not None, DYING_SECONDS)
    began = time.monotonic()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    said = f"{taken.label}, grace {taken.grace_seconds}: "
    bench.check(died is not None, f"{said}not reached")
    verdict = await recover(second, victim)
    bench.ran()
    taken.rounds += 1
    if verdict == "well" and not victim.family.revoked:
        taken.seconds.append(time.monotonic() - began)
        return
    taken.lost += 1
    bench.check(taken.may_lose, f"{said}{victim.name} is {verdict}; family: {victim.family.revoked}")
