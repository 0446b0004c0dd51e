"""What a connection may send now: places, a declared rate, and what the API itself has told; and the caps over all.

All ways in share one `Limits` for each connection. Who cannot go waits in order, people ahead of runs, for a bounded
time and in a bounded queue; a wait that cannot be met in time is refused at once, with the seconds it would take.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from quart_app.errors import CallFailed
from quart_app.outbound.breaker import Breaker
from quart_app.outbound.target import Policy
from quart_app.outbound.told import Told

MINUTE = 60.0
UNSURE_SECONDS = 1.0
CLOCK = time.monotonic
Obstacle = tuple[str, float]
"""What is in the way, and for how many seconds; 0 for as long as it takes."""

SAID = {
    "concurrency": "All places were taken for {seconds:g} s.",
    "rate": "The declared rate allows the next call in {seconds:.0f} s.",
    "told": "The API asked to wait; the next call may go in {seconds:.0f} s.",
}


@dataclass(frozen=True, slots=True)
class Queue:
    """How long a call may wait, and how many may."""

    wait_seconds: float = 10.0
    calls: int = 512


QUEUE = Queue()


class Slots:
    """Places: `take` waits for one, each take is followed by one `give`."""

    def __init__(self, queue: Queue = QUEUE) -> None:
        self.taken = 0
        self.limit = 1
        self._queue = queue
        self._people: deque[asyncio.Future[None]] = deque()
        self._runs: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._people) + len(self._runs)

    def take_now(self, limit: int) -> bool:
        """Takes a place if one is free and nobody waits for it. The newest `limit` holds for all that wait."""
        self.limit = limit
        if self._people or self._runs or self.obstacle() is not None:
            return False
        self._go()
        return True

    async def take(self, limit: int, *, patient: bool = False) -> tuple[float, str | None]:
        """Seconds waited, and for what. The `patient`, of runs and batches, let the others go first.

        Raises CallFailed `limit_wait`.
        """
        if self.take_now(limit):
            return 0.0, None
        what, seconds = self.obstacle() or ("concurrency", 0.0)
        if seconds > self._queue.wait_seconds:
            raise CallFailed("limit_wait", SAID[what].format(seconds=seconds), retry_after=seconds)
        ahead = self.waiting if patient else len(self._people)  # runs that fill the queue do not shut people out
        if ahead >= self._queue.calls:
            raise CallFailed("limit_wait", f"{ahead} calls wait already.")
        began = CLOCK()
        await self._wait(self._runs if patient else self._people, what)
        return CLOCK() - began, what

    async def _wait(self, queue: deque[asyncio.Future[None]], what: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._admit()
        try:
            async with asyncio.timeout(self._queue.wait_seconds):
                await turn
        except TimeoutError:
            self._forget(turn, queue)
            now = self.obstacle() or (what, 0.0)
            seconds = now[1] or self._queue.wait_seconds
            said = SAID[now[0]].format(seconds=seconds)
            raise CallFailed("limit_wait", said, retry_after=now[1] or 1.0) from None
        except asyncio.CancelledError:
            self._forget(turn, queue)
            raise

    def obstacle(self) -> Obstacle | None:
        """What keeps the next call from going."""
        return ("concurrency", 0.0) if self.taken >= self.limit else None

    def give(self) -> None:
        """Frees the place, for the one who waited longest."""
        self.taken -= 1
        if self._people or self._runs:
            self._admit()

    def _go(self) -> None:
        self.taken += 1

    def _admit(self) -> None:
        """Lets those go who can, and looks again when time alone will let the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._people or self._runs:
            found = self.obstacle()
            if found is not None:
                if found[1] > self._queue.wait_seconds:
                    self._refuse_all(*found)
                elif found[1] > 0:
                    self._timer = asyncio.get_running_loop().call_later(found[1] + 0.001, self._admit)
                return
            turn = (self._people or self._runs).popleft()
            if not turn.done():
                self._go()
                turn.set_result(None)

    def _refuse_all(self, what: str, seconds: float) -> None:
        for turn in (*self._people, *self._runs):
            if not turn.done():
                turn.set_exception(CallFailed("limit_wait", SAID[what].format(seconds=seconds), retry_after=seconds))
        self._people.clear()
        self._runs.clear()

    def _forget(self, turn: asyncio.Future[None], queue: deque[asyncio.Future[None]]) -> None:
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.give()
        elif turn in queue:
            queue.remove(turn)


class Limits(Slots):
    """The places of one connection, its declared rate and what its API has told, with its breaker.

    `unanswered`, kept by who sends, counts the attempts on the wire whose answer has not begun.
    """

    def __init__(self, queue: Queue = QUEUE, clock: Callable[[], float] = CLOCK) -> None:
        super().__init__(queue)
        self.breaker = Breaker(clock)
        self.per_minute: int | None = None
        self.quota: int | None = None
        self.remaining: int | None = None
        self.resets_at = 0.0
        self.held_until = 0.0
        self.unanswered = 0
        self._clock = clock
        self._unsure = 0
        self._sent: deque[float] = deque()

    def heed(self, policy: Policy) -> None:
        """Takes over a policy; a connection without a declared rate keeps no list of what was sent."""
        self.limit = policy.concurrency
        if policy.per_minute != self.per_minute:
            self.per_minute = policy.per_minute
            if self.per_minute is None:
                self._sent.clear()

    def obstacle(self) -> Obstacle | None:
        if self.taken >= self.limit:
            return "concurrency", 0.0
        if self.remaining is not None or self.held_until or self.per_minute:
            now = self._clock()
            return self._told(now) or self._rate(now)
        return None

    def _told(self, now: float) -> Obstacle | None:
        if self.held_until > now:
            return "told", self.held_until - now
        self.held_until = 0.0
        if self.remaining is not None and now >= self.resets_at:
            self.remaining = None
        if self.remaining is not None and self.remaining <= 0:
            sure = self.remaining + self._unsure <= 0 or not self.unanswered
            return "told", self.resets_at - now if sure else min(self.resets_at - now, UNSURE_SECONDS)
        return None

    def _rate(self, now: float) -> Obstacle | None:
        """Never more than the declared calls in any minute, wherever that minute begins."""
        if self.per_minute is None or self.sent_last_minute(now) < self.per_minute:
            return None
        return "rate", self._sent[-self.per_minute] + MINUTE - now

    def refresh(self) -> None:
        """Forgets what an API told that is over by now."""
        self._told(self._clock())

    def sent_last_minute(self, now: float | None = None) -> int:
        """How many were sent; counted only under a declared rate."""
        oldest = (self._clock() if now is None else now) - MINUTE
        while self._sent and self._sent[0] <= oldest:
            self._sent.popleft()
        return len(self._sent)

    def _go(self) -> None:
        self.taken += 1
        if self.per_minute:
            self._sent.append(self._clock())
        if self.remaining is not None:
            self.remaining -= 1

    def learn(self, told: Told) -> None:
        """Takes over what an answer told, less what has no answer yet: it may not have been counted.

        Where only that leaves nothing, calls wait for those answers, which tell more, and are not refused.
        """
        now = self._clock()
        if told.hold_seconds:
            self.held_until = max(self.held_until, now + told.hold_seconds)
        if told.limit is not None:
            self.quota = told.limit
        if told.remaining is not None and told.reset_seconds is not None:
            self._unsure = self.unanswered
            self.remaining = told.remaining - self._unsure
            self.resets_at = now + told.reset_seconds
        if self.waiting:
            self._admit()


class Caps:
    """Calls in flight over all connections, and for each key or person: `enter` waits, `leave` follows."""

    def __init__(self, queue: Queue = QUEUE, *, overall: int, per_actor: int) -> None:
        self.overall = Slots(queue)
        self._most = overall
        self._most_per_actor = per_actor
        self._actors: dict[str, Slots] = {}
        self._queue = queue

    def enter_now(self, actor: str) -> bool:
        """Enters if there is room and nobody waits."""
        own = self._own(actor)
        if not own.take_now(self._most_per_actor):
            return False
        if self.overall.take_now(self._most):
            return True
        self._give(own, actor)
        return False

    def _own(self, actor: str) -> Slots:
        found = self._actors.get(actor)
        if found is None:
            found = self._actors[actor] = Slots(self._queue)
        return found

    async def enter(self, actor: str, *, patient: bool = False) -> float:
        """Seconds waited. Raises CallFailed `limit_wait`."""
        own = self._own(actor)
        waited = 0.0
        if not own.take_now(self._most_per_actor):
            waited, _ = await own.take(self._most_per_actor, patient=patient)
        if not self.overall.take_now(self._most):
            try:
                more, _ = await self.overall.take(self._most, patient=patient)
            except BaseException:
                self._give(own, actor)
                raise
            waited += more
        return waited

    def leave(self, actor: str) -> None:
        self.overall.give()
        self._give(self._actors[actor], actor)

    def _give(self, own: Slots, actor: str) -> None:
        own.give()
        if not own.taken and not own.waiting:
            del self._actors[actor]
