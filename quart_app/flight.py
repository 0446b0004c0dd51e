"""A call in flight: sent with its credential, its answer passed on piece by piece, a capped copy kept, settled once.

All three ways in use it. Whoever flies it ends it with `land`, `fail` or `abandon`; until then an unsafe call stands on
record as `sending`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from uuid_utils import uuid7

from quart_app import records, tokens
from quart_app.errors import AppError, CallFailed
from quart_app.outbound.auth import Credential
from quart_app.outbound.client import Answer, AttemptFailed, Outgoing
from quart_app.outbound.redact import own_secrets
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import Copy, content_headers
from quart_app.services import Services

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


class Flight:
    """One call. `depart` sends it, `read` gives its answer's pieces, `land` puts it on record."""

    def __init__(
        self,
        services: Services,
        target: Target,
        outgoing: Outgoing,
        *,
        origin: str,
        actor: str,
        total_seconds: float | None = None,
        replay_of: str | None = None,
    ) -> None:
        self.services = services
        self.target = target
        self.outgoing = outgoing
        self.total_seconds = total_seconds
        self.id = str(uuid7())
        self.credential = target.credential
        self._own_secrets = own_secrets(outgoing.headers, str(outgoing.url))
        self.answer: Answer | None = None
        self.began = time.perf_counter()
        self.waited_seconds = 0.0
        self.settled = False
        self._refusal: AppError | None = None
        self._patience: asyncio.Timeout | None = None
        self._awaited: str | None = None
        self._holds_slot = False
        self._attempt_timings: Timings | None = None
        cap = target.policy.record_bytes if target.policy.record_bodies else 0
        self.sent, self.received = Copy(cap), Copy(cap)
        self.record = records.new_call(
            target,
            id_=self.id,
            origin=origin,
            actor=actor,
            owner=services.process,
            method=outgoing.method,
            url=records.shown_url(self._redactor.url(str(outgoing.url)), target.credential.query),
            headers=[*self._redactor.headers(outgoing.headers), *target.marks],
        )
        self.record.call["replay_of"] = replay_of

    @property
    def _redactor(self) -> Any:
        return self.credential.redactor.also(self._own_secrets)

    async def depart(self) -> Answer:
        """Sends, and returns when the answer's head is here.

        Raises CallFailed once the failed call is on record, AppError for a connection that takes no calls.
        """
        if self.target.state == "paused":
            self.settled = True
            raise AppError(409, "connection_paused", "This connection is paused.")
        try:
            await self._leave()
            assert self.answer is not None
            return self.answer
        except (AttemptFailed, CallFailed) as error:
            if self._refusal is not None:
                raise await self._refused(self._refusal) from None
            reason = error.reason if isinstance(error, AttemptFailed) else error.code
            raise await self.fail(reason, error.detail) from None
        except asyncio.CancelledError:
            self.abandon()
            raise

    async def _leave(self) -> None:
        if isinstance(self.outgoing.body, bytes):
            self.sent.add(self.outgoing.body)
        elif self.outgoing.body is not None:
            self.outgoing.body = self._copying(self.outgoing.body)
        if self.outgoing.method not in SAFE:
            await self._record_sending()
        slots = self.services.client.slots(self.target)
        self.waited_seconds = await slots.take(self.target.policy.concurrency)
        self._holds_slot = True
        self.credential = await tokens.ensure_valid(self.services, self.target)
        await self._attempt(self.credential)
        if self.answer and self.answer.status == 401 and self.credential.generation is not None:
            await self._attempt_with_new_token(self.answer)

    async def _record_sending(self) -> None:
        """On record before it leaves: what a stop leaves behind is known to have been under way."""
        self._fill_request()
        before = Record(dict(self.record.call), [], dict(self.record.bodies))
        if not await self.services.recorder.write(before):
            self.abandon("It was not sent: it could not be put on record first.")  # else it would stay `sending`
            raise AppError(503, "storage_unavailable", "The call was not sent: it could not be put on record first.")

    async def _attempt(self, credential: Credential) -> None:
        self.answer = None
        self._attempt_timings = timings = Timings()
        try:
            async with asyncio.timeout(None) as self._patience:
                self.answer = await self.services.client.exchange(
                    self.target, self.outgoing, credential, timings, total_seconds=self.total_seconds
                )
        except TimeoutError:
            raise AttemptFailed("idle_timeout", f"The {self._awaited} of the upload stood still.") from None
        finally:
            self._patience = None

    async def _attempt_with_new_token(self, refused: Answer) -> None:
        """Once more after a 401, if the body can be sent again and a newer token is to be had."""
        if not isinstance(self.outgoing.body, bytes | None):
            tokens.refresh_beside(self.services, self.target, self.credential)
            return
        refused_at = time.perf_counter()
        try:
            held = await tokens.refresh(self.services, self.target, after=self.credential.generation)
        except CallFailed:
            return
        assert held.credential is not None
        self._note_attempt(status=401, reason="unauthorized", ended=refused_at)
        self.waited_seconds = time.perf_counter() - refused_at
        refused.close()
        self.credential = held.credential
        await self._attempt(held.credential)

    def _note_attempt(self, *, status: int | None, reason: str | None, ended: float | None = None) -> None:
        """Ends the attempt that is open, if one is."""
        timings, self._attempt_timings = self._attempt_timings, None
        if timings is None:
            return
        timings.ended = ended or time.perf_counter()
        records.add_attempt(
            self.record,
            timings,
            status=status,
            reason=reason,
            waited_seconds=self.waited_seconds,
            generation=self.credential.generation,
        )
        self.waited_seconds = 0.0

    async def _copying(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            self._await("sender")
            async for piece in body:
                self.sent.add(piece)
                self._await("receiver")
                yield piece
                self._await("sender")
            self._await(None)
        except AppError as error:
            self._refusal = error  # the engine, which reads this, would make a broken connection of it
            raise

    def _await(self, whom: str | None) -> None:
        """An upload is given up when the one it waits for does nothing for the connection's idle time.

        The engine has no limit for that: its own begin when all is sent.
        """
        self._awaited = whom
        if self._patience is not None:
            idle = asyncio.get_running_loop().time() + self.target.policy.idle_seconds
            self._patience.reschedule(idle if whom else None)

    async def _refused(self, refusal: AppError) -> AppError:
        """The body turned out to be too large on its way: on record as that; returns the error to raise."""
        await self._settle("failed", "too_large", refusal.detail)
        refusal.headers.append(("X-Switchboard-Call", self.id))
        return refusal

    def take_rest(self) -> bytes | None:
        """The rest of the answer if it is here already, noted; None when it has to be read."""
        assert self.answer is not None
        piece = self.answer.rest()
        if piece:
            self.received.add(piece)
        return piece

    async def read(self) -> bytes:
        """The answer's next piece, empty at its end. Raises CallFailed once that is on record."""
        assert self.answer is not None
        try:
            piece = await self.answer.read()
        except AttemptFailed as error:
            raise await self.fail(error.reason, error.detail) from None
        if piece:
            self.received.add(piece)
        return piece

    async def land(self) -> bool:
        """The answer came whole: on record, durably, when this returns True."""
        return await self._settle("done", None, None)

    async def fail(self, reason: str, detail: str) -> CallFailed:
        """No whole answer: on record with the reason; returns the error to raise."""
        await self._settle("failed", reason, detail)
        error = CallFailed(reason, detail)
        error.headers.append(("X-Switchboard-Call", self.id))
        return error

    def abandon(self, detail: str = "") -> None:
        """Nobody waits for the answer any more: lets go of the upstream at once and records it, without waiting."""
        if not self.settled:
            gone = "The server was stopped." if self.services.draining else "The caller went away."
            self._close("cancelled", None, detail or gone)
            self.services.recorder.put(self.record)

    async def _settle(self, state: str, reason: str | None, detail: str | None) -> bool:
        if self.settled:
            return True
        self._close(state, reason, detail)
        return await self.services.recorder.write(self.record)

    def _close(self, state: str, reason: str | None, detail: str | None) -> None:
        self.settled = True
        if self._holds_slot:
            self.services.client.slots(self.target).give()
        call = self.record.call
        status = self.answer.status if self.answer else None
        self._note_attempt(status=status, reason="cancelled" if state == "cancelled" else reason)
        if self.answer is not None:
            self.answer.close()
            call["status"] = self.answer.status
            self._fill_response(self.answer, came_whole=state == "done")
        self._fill_request()
        call["state"], call["reason"], call["detail"] = state, reason, detail
        call["duration_seconds"] = round(time.perf_counter() - self.began, 6)

    def _fill_request(self) -> None:
        call = self.record.call
        if self.outgoing.body is None:
            return
        clean = self._redactor.content(self.sent.content, cut=not self.sent.whole)
        call["request_size"] = self.sent.size
        call["request_media_type"], _ = content_headers(self.outgoing.headers)
        call["request_truncated"] = not self.sent.whole
        call["request_exact"] = clean is self.sent.content and self.sent.whole
        call["request_body"] = self.record.keep(clean) if clean else None

    def _fill_response(self, answer: Answer, *, came_whole: bool) -> None:
        call = self.record.call
        call["response_headers"] = records.as_json(self._redactor.headers(answer.headers))
        if self.outgoing.method == "HEAD" or answer.status in (204, 304):
            return
        received = self.received
        media_type, coding = content_headers(answer.headers)
        kept_whole = came_whole and received.whole
        clean, whole = self._readable(received.content, coding, received.cap, whole=kept_whole)
        call["response_size"] = received.size
        call["response_media_type"] = media_type
        call["response_sha256"] = hashed = received.sha256()
        call["response_truncated"] = not whole
        if clean:
            as_it_came = clean is received.content and received.whole
            call["response_body"] = self.record.keep(clean, hashed if as_it_came else None)

    def _readable(self, content: bytes, coding: bytes | None, cap: int, *, whole: bool = True) -> tuple[bytes, bool]:
        """An answer's content in clear and without secrets, and whether that is all of it."""
        clear, all_of_it = records.decoded(content, coding, cap) if coding and content else (content, True)
        whole = whole and all_of_it
        return self._redactor.content(clear, cut=not whole), whole

    def clean(self, content: bytes) -> tuple[bytes, bool]:
        """A collected answer as a caller of the API may see it, and whether that is all of it."""
        assert self.answer is not None
        _, coding = content_headers(self.answer.headers)
        return self._readable(content, coding, self.services.settings.answer_bytes)
