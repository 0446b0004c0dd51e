"""The attempts of one call: a nest of methods that each add one concern, and the one exchange at its bottom.

Retries, redirects, a new token, one attempt; around each attempt a place among the others and the breaker's leave.
Everything an attempt waited for, and why another followed or none did, goes on record.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Protocol, TypeVar

from quart_app import tokens
from quart_app.errors import CallFailed
from quart_app.outbound import redirects, retry
from quart_app.outbound.auth import Credential
from quart_app.outbound.breaker import FAILING
from quart_app.outbound.client import Answer, AttemptFailed, Outgoing
from quart_app.outbound.retry import Outcome, Stop
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.outbound.told import Told, told
from quart_app.outbound.ways import without_certificate
from quart_app.sending.call_log import CallLog
from quart_app.sending.upload import Upload
from quart_app.services import Services

T = TypeVar("T")
INSTANT_SECONDS = 0.001
MOST_TOKENS = 3
NONE_FOLLOWED = {"circuit_open": "circuit_open", "limit_wait": "told_to_wait_too_long", "total_timeout": "time_spent"}
"""Why the attempt that was to follow never left, by how the call ended."""


class Exchange(Protocol):
    """How one attempt is made; `client.exchange` unless the call is another kind of exchange."""

    def __call__(
        self,
        target: Target,
        outgoing: Outgoing,
        credential: Credential,
        timings: Timings,
        *,
        total_seconds: float | None,
    ) -> Awaitable[Answer]: ...


class Attempts:
    """`send` gives the answer of the last attempt. Followed by one `close`, also after a failure."""

    def __init__(
        self,
        services: Services,
        target: Target,
        outgoing: Outgoing,
        log: CallLog,
        *,
        actor: str,
        total_seconds: float | None,
        upload: Upload | None,
        patient: bool,
        insists: bool,
        exchange: Exchange | None,
    ) -> None:
        """`patient` lets people go first; `insists` tries also while the breaker is open."""
        self.services = services
        self.target = target
        self.log = log
        self.answer: Answer | None = None
        self._outgoing = outgoing
        self._actor = actor
        self._deadline = None if total_seconds is None else time.monotonic() + total_seconds
        self._upload = upload
        self._patient = patient
        self._insists = insists
        self._exchange = exchange or services.client.exchange
        self._limits = services.client.limits_of(target)
        self._holds_place, self._first = False, True
        self._timings: Timings | None = None
        self._told: Told | None = None
        self._next_reason: str | None = None
        self._hop: Outgoing | None = None
        self._abroad = False

    async def send(self) -> Answer:
        """Until an answer comes that is not one to try again, or nothing may be tried any more.

        Raises AttemptFailed, CallFailed.
        """
        number = 1
        while True:
            failure = None
            await (self._get_ready() if self._deadline is None else self._within(self._get_ready()))
            try:
                answer = await self._send_handling_redirects()
                if answer.status not in retry.STATUSES:
                    return answer
                outcome = Outcome(status=answer.status, retry_after=self._told.wait_seconds if self._told else None)
            except AttemptFailed as error:
                failure, outcome = error, Outcome(reason=error.reason)
            step = self._next_step(number, outcome)
            if isinstance(step, Stop):
                self._next_reason = self._next_reason or step.reason
                if failure is not None:
                    raise failure
                return answer
            self._end_attempt(outcome.status, outcome.reason, "retried")
            await self._pause(step)
            number += 1

    def _next_step(self, number: int, outcome: Outcome) -> retry.Retry | Stop:
        return retry.next_step(
            number,
            outcome,
            self.target.policy,
            repeatable=retry.repeatable(self._outgoing.method, self._outgoing.headers),
            resendable=self._upload is None,
            left_seconds=self._left_seconds(),
            spend=self._limits.breaker.spend_retry,
        )

    def _left_seconds(self) -> float | None:
        """What is left of the call's total time, to the millisecond, or to a tenth where there is much."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        return round(left, 1) if left > 10 else max(0.001, round(left, 3))

    async def _pause(self, step: retry.Retry) -> None:
        """Before a retry, without a place: others may go meanwhile."""
        self.answer = None
        self._give_place()
        await asyncio.sleep(step.after)
        self.log.waited(step.after, step.wait_reason)

    async def _within(self, work: Awaitable[T]) -> T:
        """The outcome of what comes before an attempt, within the call's total time. Raises AttemptFailed."""
        try:
            async with asyncio.timeout(self._left_seconds()):
                return await work
        except TimeoutError:
            raise AttemptFailed("total_timeout", "The call took longer than its total time.") from None

    async def _get_ready(self) -> None:
        """A place, and what to sign in with."""
        await self._take_place()
        began = time.perf_counter()
        self.log.credential = await tokens.ensure_valid(self.services, self.target)
        if (took := time.perf_counter() - began) > INSTANT_SECONDS:
            self.log.waited(took, "token")

    async def _take_place(self) -> None:
        limits, most = self._limits, self.target.policy.concurrency
        if not self._insists:
            limits.breaker.check()
        limits.heed(self.target.policy)
        if not limits.take_now(most):
            began = time.perf_counter()
            try:
                self.log.waited(*await limits.take(most, patient=self._patient))
            except BaseException:
                self.log.waited(time.perf_counter() - began, "concurrency")
                raise
        if not self.services.caps.enter_now(self._actor):
            try:
                waited = await self.services.caps.enter(self._actor, patient=self._patient)
            except BaseException:
                limits.give()
                raise
            self.log.waited(waited, "concurrency")
        self._holds_place = True

    def _give_place(self) -> None:
        if self._holds_place:
            self._holds_place = False
            self._limits.give()
            self.services.caps.leave(self._actor)

    async def _take_another_place(self) -> None:
        """For one more attempt of the same try: it counts against the limits like any other."""
        self.answer = None
        self._give_place()
        await self._within(self._take_place())

    async def _send_handling_redirects(self) -> Answer:
        answer = await self._send_handling_auth()
        hops = 0
        while self.target.policy.follow_redirects and answer.status in redirects.STATUSES:
            where = redirects.location(answer.headers)
            if where is None:
                break
            following = self._following(answer.status, where) if hops < redirects.MOST_HOPS else "redirects_spent"
            if isinstance(following, str):
                self._next_reason = following
                break
            answer = await self._hop_to(following, answer.status)
            hops += 1
        return answer

    def _following(self, status: int, where: str) -> Outgoing | str:
        """The request to follow a redirect with, or why it is not followed."""
        own, parameter = self.target.injected, self.target.credential.query
        following = redirects.follow(self._hop or self._outgoing, status, where, own, parameter)
        if following is None:
            return "redirect_refused"
        return following if isinstance(following.body, bytes | None) else "body_gone"

    async def _hop_to(self, following: Outgoing, status: int) -> Answer:
        """The next hop, without the credential from the first change of origin on."""
        self._end_attempt(status, None, "redirected")
        await self._take_another_place()
        if not self._abroad and redirects.crosses(self._outgoing.url, following.url):
            self._abroad = True
            self.log.credential = replace(self.log.credential, headers=(), query="", generation=None)
        self._hop = following
        return await self._attempt(following)

    async def _send_handling_auth(self) -> Answer:
        """Once more after a 401, if it can be sent again with a newer token; also after one that expired on its way."""
        self._hop, self._abroad = None, False
        answer = await self._attempt(self._outgoing)
        for again in range(MOST_TOKENS):
            sent = self.log.credential
            if answer.status != 401 or sent.generation is None or (again and not sent.is_over(self.services.clock())):
                break
            if self._upload is not None:
                tokens.refresh_beside(self.services, self.target, sent)
                break
            refused_at = time.perf_counter()
            try:
                await self._within(tokens.refresh_after_401(self.services, self.target, sent))
            except CallFailed:
                break
            self._end_attempt(401, "unauthorized", "new_token", ended=refused_at)
            self.log.waited(time.perf_counter() - refused_at, "token")
            await self._take_another_place()  # which may take longer than the new token lives
            self.log.credential = await self._within(tokens.ensure_valid(self.services, self.target))
            answer = await self._attempt(self._outgoing)
        return answer

    async def _attempt(self, outgoing: Outgoing) -> Answer:
        limits, failed = self._limits, None
        limits.breaker.admit(self, insists=self._insists)
        self._timings = Timings()
        limits.unanswered += 1
        try:
            self.answer = answer = await self._exchange_once(outgoing, self._timings)
            failed = answer.status >= 500
        except AttemptFailed as error:
            failed = True if error.reason in FAILING else None
            raise
        finally:
            limits.unanswered -= 1
            if failed is None:
                limits.breaker.forget(self)
            else:
                limits.breaker.ended(self, failed=failed, first=self._first)
                self._first = False
        self._told = told(answer.headers, answer.status, self.services.clock())
        if self._told is not None and not self._abroad:
            limits.learn(self._told)
        return answer

    async def _exchange_once(self, outgoing: Outgoing, timings: Timings) -> Answer:
        target, credential, left = self.target, self.log.credential, self._left_seconds()
        if self._abroad:
            target = replace(target, way=without_certificate(target.way))
        if self._upload is None or outgoing.body is None:
            return await self._exchange(target, outgoing, credential, timings, total_seconds=left)
        try:
            async with self._upload:
                return await self._exchange(target, outgoing, credential, timings, total_seconds=left)
        except TimeoutError:
            raise AttemptFailed("idle_timeout", f"The {self._upload.awaited} of the upload stood still.") from None

    def _end_attempt(
        self, status: int | None, reason: str | None, next_reason: str | None, ended: float | None = None
    ) -> None:
        """Ends the attempt that is open, if one is, and lets go of its answer."""
        timings, self._timings = self._timings, None
        if timings is not None:
            timings.ended = ended
            where = str(self._hop.url) if self._hop else None
            self.log.attempt_ended(timings, status=status, reason=reason, next_reason=next_reason, url=where)
        if self.answer is not None:
            self.answer.close()

    def broke(self, reason: str) -> None:
        """The answer broke off in its middle: the breaker counts that as well."""
        if reason in FAILING:
            self._limits.breaker.failed(self)

    def close(self, reason: str | None) -> Answer | None:
        """Gives the place back and ends the last attempt; returns its answer, if it has one, let go of."""
        self._give_place()
        if self._timings is None:
            self.log.none_followed(NONE_FOLLOWED.get(reason or ""))
        self._end_attempt(self.answer.status if self.answer else None, reason, self._next_reason)
        return self.answer
