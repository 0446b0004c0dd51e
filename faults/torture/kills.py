"""kill -9 at a step of an exchange, or a moment after it; then a restart, and a look at each connection's tokens.

Several connections are refreshed at once, so that a kill at a step of one cuts the others off wherever they are. In
which window each was cut off is read from the steps that it wrote down and from what the provider saw of it:

    claimed     claimed, not yet noted as sent          answered    the answer is here, the token not yet in its slot
    sent        noted as sent, and the provider saw it not      rescued     in its slot, not yet in the database
    answering   the provider saw it, its answer is not here     committed   in the database, its slot not yet empty

A token may be lost only where it is nowhere but on the way or in memory, `answering` and `answered`, and only if the
provider takes no refresh token twice, not even a moment later (grace 0). Where the restart itself took longer than the
grace, a loss counts as `late` instead.
"""

import asyncio
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults import steps
from faults.harness import Bench
from faults.load import eventually
from faults.steps import Step
from faults.switchboard import Switchboard
from faults.torture import aftermath
from faults.torture.victims import GONE, Victim, call, recover, refresh, sign_in
from tests.sandboxed import Sandbox, serving_sandbox

GRACES = (0, 5, 60)
VICTIMS = 4
ACCESS_SECONDS = 1
ANSWER_SECONDS = 0.01
"""How long the provider takes between spending a refresh token and answering: a window that kills can hit."""

EXACT_SHARE = 0.5
LATER_SECONDS = {
    "after_claim": 0.006,
    "after_send": 0.03,
    "after_answer": 0.004,
    "after_rescue": 0.01,
    "after_commit": 0.02,
}
"""A kill that is not exact comes up to so long after its step: about as long as the next step takes."""

REFRESH_SHARE = 0.8
MOST_TIMES = 6
TWICE_SHARE = 0.12
TWICE_SECONDS = 1.5
DRIVING_SECONDS = 15.0
SETTLED_SECONDS = 0.1
PROMPT_SECONDS = 1.0

WINDOWS = {
    "after_claim": "claimed",
    "after_send": "sent",
    "after_answer": "answered",
    "after_rescue": "rescued",
    "after_commit": "committed",
}
MAY_LOSE = frozenset(("answering", "answered"))


@dataclass
class Tally:
    """What came of a cell: by window, exchanges that were `cut` off and tokens that were `lost`."""

    label: str
    grace_seconds: int
    kills: int = 0
    refreshes: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    rescue_ms: list[float] = field(default_factory=list)
    ready_seconds: list[float] = field(default_factory=list)

    @property
    def lost_needlessly(self) -> int:
        return sum(count for window, count in self.lost.items() if not may_lose(self.grace_seconds, window))


def may_lose(grace_seconds: int, window: str) -> bool:
    return window == "late" or (grace_seconds == 0 and window in MAY_LOSE)


async def torture(bench: Bench, chance: Random, label: str, grace_seconds: int, kills: int) -> Tally:
    """A cell: so many kills at and around one step, on one data folder."""
    options = {"access_seconds": ACCESS_SECONDS, "grace_seconds": grace_seconds}
    async with serving_sandbox(token_delay_seconds=ANSWER_SECONDS, **options) as sandbox:
        cell = Cell(bench, chance, bench.switchboard(hand=()), sandbox, Tally(label, grace_seconds))
        try:
            await cell.begin()
            while cell.tally.kills < kills:
                await cell.round()
        finally:
            await cell.switchboard.end()
        await cell.look_over()
    return cell.tally


async def windows_ms(bench: Bench, refreshes: int) -> list[float]:
    """How long the token of each refresh was in memory alone, on a server that does nothing else."""
    switchboard = bench.switchboard(hand=())
    path = switchboard.data.with_suffix(".steps")
    async with serving_sandbox() as sandbox, switchboard.up("--steps", str(path)):
        victim = await sign_in(switchboard, sandbox, "c0")
        for _ in range(refreshes):
            bench.check(await refresh(switchboard, victim) == 200, "a refresh failed with nothing in its way")
            bench.ran()
    return steps.gaps_ms(steps.read(path), "after_answer", "after_rescue")


class Cell:
    """A server under test, its provider and its connections."""

    def __init__(self, bench: Bench, chance: Random, switchboard: Switchboard, sandbox: Sandbox, tally: Tally) -> None:
        self.bench = bench
        self.chance = chance
        self.switchboard = switchboard
        self.sandbox = sandbox
        self.tally = tally
        self.victims: list[Victim] = []
        self.past: list[Victim] = []
        self.starts = 0
        self.ready_at = 0.0
        self.steps = Path()

    async def begin(self) -> None:
        self.spawn()
        await asyncio.to_thread(self.switchboard.wait_until_ready)
        await self.fill_up()

    async def fill_up(self) -> None:
        """Who lost the tokens of a connection signs in anew, with another one."""
        while len(self.victims) < VICTIMS:
            name = f"c{len(self.victims) + len(self.past)}"
            self.victims.append(await sign_in(self.switchboard, self.sandbox, name))

    def spawn(self) -> None:
        self.starts += 1
        self.steps = self.switchboard.data.with_suffix(f".steps{self.starts}")
        self.switchboard.spawn("--steps", str(self.steps))

    async def round(self) -> None:
        """A kill, perhaps another one while the server starts again, and what became of the tokens."""
        await self.kill_at_step()
        if self.tally.grace_seconds != 5 and self.chance.random() < TWICE_SHARE:
            await self.restart()
            await self.kill_at_start()
        killed_at = time.monotonic()
        await self.restart()
        await asyncio.to_thread(self.switchboard.wait_until_ready)
        self.ready_at = time.monotonic()
        self.tally.ready_seconds.append(self.ready_at - killed_at)
        await asyncio.gather(*(self.judge(victim) for victim in list(self.victims)))
        await self.fill_up()

    # Killing

    async def kill_at_step(self) -> None:
        """The server kills itself in the middle of refreshes of all connections."""
        chance, label = self.chance, self.tally.label
        after = 0.0 if chance.random() < EXACT_SHARE else chance.uniform(0, LATER_SECONDS[label])
        times = chance.randint(1, MOST_TIMES)
        await self.switchboard.do("strike", label=label, times=times, after_seconds=after, number=signal.SIGKILL)
        asking = [asyncio.create_task(self.keep_asking(one, Random(chance.random()))) for one in self.victims]
        died = await eventually(lambda: self.process.poll() is not None, DRIVING_SECONDS)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if not self.bench.check(died is not None, f"{label} was not reached in {DRIVING_SECONDS} s"):
            self.process.kill()
        self.ended()

    async def keep_asking(self, victim: Victim, chance: Random) -> None:
        """Refreshes and calls, one after the other, until the server is gone."""
        while True:
            act = refresh if chance.random() < REFRESH_SHARE else call
            with suppress(*GONE):
                await act(self.switchboard, victim)
            await asyncio.sleep(chance.uniform(0, 0.01))

    async def kill_at_start(self) -> None:
        """From outside, at any moment of its start."""
        await asyncio.sleep(self.chance.uniform(0, TWICE_SECONDS))
        self.process.kill()
        self.ended()

    def ended(self) -> None:
        code = self.process.wait()
        self.bench.check(code == -signal.SIGKILL, f"the server ended with code {code} before it was killed")
        self.bench.ran()
        self.tally.kills += 1

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self.switchboard.process is not None
        return self.switchboard.process

    # Looking

    async def restart(self) -> None:
        """Starts the server again at once, and notes meanwhile where the one before was cut off."""
        seen = self.steps
        self.spawn()
        await asyncio.sleep(SETTLED_SECONDS)  # what left the killed one reaches the provider, and the new one loads yet
        self.note_cuts(steps.read(seen))

    def note_cuts(self, seen: list[Step]) -> None:
        for victim in self.victims:
            if window := window_of(victim, seen):
                victim.cuts.append(window)
                self.tally.cut[window] += 1
            victim.asked = victim.requests
        self.tally.rescue_ms += steps.gaps_ms(seen, "after_answer", "after_rescue")
        self.tally.refreshes += sum(step.label == "after_commit" for step in seen)

    async def judge(self, victim: Victim) -> None:
        """Whether the tokens of a connection are lost, and whether they may be."""
        verdict, cuts, grace = await recover(self.switchboard, victim), victim.cuts, self.tally.grace_seconds
        victim.cuts = []
        if verdict == "well":
            self.bench.check(not victim.family.revoked, f"{victim.name} works, and its family is revoked")
            return
        said = f"{victim.name} is {verdict} after it was cut off: {cuts}; family: {victim.family.revoked}"
        window = next((one for one in cuts if one in MAY_LOSE), cuts[-1] if cuts else "never")
        if window in MAY_LOSE and grace and self.was_late(victim):
            window = "late"
        self.bench.check(verdict == "signed out" and may_lose(grace, window), said)
        self.tally.lost[window] += 1
        self.victims.remove(victim)
        self.past.append(victim)

    def was_late(self, victim: Victim) -> bool:
        """Whether the grace was over when the restarted server's first request was answered: its machine is too slow.

        It is held against the provider's own note of when it spent the token; who is ready and asks late has no excuse.
        """
        tokens = self.sandbox.server.store.refresh_tokens.values()
        spent_at = max(token.spent_at for token in tokens if token.family is victim.family and token.spent_at)
        steps_of = (step for step in steps.read(self.steps) if step.connection == victim.name)
        answered = next((step for step in steps_of if step.label == "after_answer"), None)
        if answered is None or answered.at_ns / 1e9 > self.ready_at + PROMPT_SECONDS:
            return False
        answered_at = time.time() - (time.monotonic() - answered.at_ns / 1e9)
        return answered_at - spent_at >= self.tally.grace_seconds

    async def look_over(self) -> None:
        """What is left when the server has ended in order."""
        data, everyone = self.switchboard.data, [*self.victims, *self.past]
        found = self.switchboard.looked_over()
        found += await aftermath.looked_over(data, [victim.kept for victim in everyone])
        files = [*aftermath.files_of(data), self.switchboard.log]
        found += await asyncio.to_thread(aftermath.in_clear, self.sandbox.server, files)
        for said in found:
            self.bench.check(False, said)


def window_of(victim: Victim, seen: list[Step]) -> str | None:
    """Where the exchange of a connection was when its process ended; None where there was none under way."""
    own = [step.label for step in seen if step.connection == victim.name]
    if not own or (own[-1] == "after_commit" and seen[-1].connection != victim.name):
        return None
    if own[-1] == "after_send" and victim.requests - victim.asked >= own.count("after_send"):
        return "answering"
    return WINDOWS[own[-1]]
