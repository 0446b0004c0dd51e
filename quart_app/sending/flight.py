"""A call in flight: it departs, its answer is passed on piece by piece, and it is settled once.

All three ways in use it. Whoever flies it ends it with `land`, `fail` or `abandon`; until then an unsafe call stands on
record as `sending`.
"""

import asyncio
import time

from quart_app.errors import AppError, CallFailed
from quart_app.outbound.client import Answer, AttemptFailed, Outgoing
from quart_app.outbound.target import Target
from quart_app.recorder import Record
from quart_app.sending.attempts import Attempts, Exchange
from quart_app.sending.call_log import CallLog, Outcome
from quart_app.sending.upload import Upload
from quart_app.services import Services

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
UNRECORDED = "The call was not sent: it could not be put on record first."


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
        patient: bool = False,
        insists: bool = False,
        exchange: Exchange | None = None,
    ) -> None:
        """`patient` lets people go first; `insists` tries also while the breaker is open."""
        self.services = services
        self.target = target
        self.outgoing = outgoing
        self.settled = False
        self.log = CallLog(target, outgoing, origin=origin, actor=actor, owner=services.process, replay_of=replay_of)
        self.id = self.log.id
        self._upload: Upload | None = None
        if isinstance(outgoing.body, bytes):
            self.log.sent.add(outgoing.body)
        elif outgoing.body is not None:
            self._upload = Upload(outgoing.body, self.log.sent, target.policy.idle_seconds)
            outgoing.body = self._upload.pieces()
        self._attempts = Attempts(
            services,
            target,
            outgoing,
            self.log,
            actor=actor,
            total_seconds=total_seconds,
            upload=self._upload,
            patient=patient,
            insists=insists,
            exchange=exchange,
        )

    @property
    def record(self) -> Record:
        return self.log.record

    @property
    def answer(self) -> Answer | None:
        return self._attempts.answer

    async def depart(self) -> Answer:
        """Sends, and returns when the answer's head is here.

        Raises CallFailed once the failed call is on record, AppError for a connection that takes no calls.
        """
        if self.target.state == "paused":
            self.settled = True
            raise AppError(409, "connection_paused", "This connection is paused.")
        try:
            if self.outgoing.method not in SAFE:
                await self._record_sending()
            return await self._attempts.send()
        except (AttemptFailed, CallFailed) as error:
            if self._upload is not None and self._upload.refusal is not None:
                raise await self._refused(self._upload.refusal) from None
            raise await self._failed(error) from None
        except asyncio.CancelledError as error:
            self.abandon(str(error))  # whoever cancels may say why
            raise

    async def _record_sending(self) -> None:
        """On record before it leaves: what a stop leaves behind is known to have been under way."""
        if not await self.services.recorder.write(await self.log.so_far()):
            self.abandon("It was not sent: it could not be put on record first.")  # else it would stay `sending`
            raise AppError(503, "storage_unavailable", UNRECORDED)

    async def _refused(self, refusal: AppError) -> AppError:
        """The body turned out to be too large on its way: on record as that; returns the error to raise."""
        await self._settle(Outcome("failed", "too_large", refusal.detail))
        refusal.headers.append(("X-Switchboard-Call", self.id))
        return refusal

    async def _failed(self, error: AttemptFailed | CallFailed) -> CallFailed:
        """No answer: on record with the reason; returns the error to raise."""
        failure = CallFailed(error.reason, error.detail) if isinstance(error, AttemptFailed) else error
        await self._settle(Outcome("failed", failure.code, failure.detail))
        failure.headers.append(("X-Switchboard-Call", self.id))
        return failure

    def take_rest(self) -> bytes | None:
        """The rest of the answer if it is here already, noted; None when it has to be read."""
        assert self.answer is not None
        piece = self.answer.rest()
        if piece:
            self.log.received.add(piece)
        return piece

    async def read(self) -> bytes:
        """The answer's next piece, empty at its end. Raises CallFailed once that is on record."""
        assert self.answer is not None
        try:
            piece = await self.answer.read()
        except AttemptFailed as error:
            raise await self.broke_off(error) from None
        if piece:
            self.log.received.add(piece)
        return piece

    async def broke_off(self, error: AttemptFailed) -> CallFailed:
        """The upstream broke off what it had begun: on record with the reason; returns the error to raise."""
        self._attempts.broke(error.reason)
        return await self._failed(error)

    async def land(self) -> bool:
        """The answer came whole: on record, durably, when this returns True."""
        return await self._settle(Outcome("done"))

    async def fail(self, reason: str, detail: str) -> CallFailed:
        """No whole answer: on record with the reason; returns the error to raise."""
        return await self._failed(CallFailed(reason, detail))

    def abandon(self, detail: str = "") -> None:
        """Nobody waits for the answer any more: lets go of the upstream at once and records it, without waiting."""
        if self.settled:
            return
        gone = "The server was stopped." if self.services.draining else "The caller went away."
        outcome = Outcome("cancelled", None, detail or gone)
        answer = self._let_go("cancelled")
        if self.log.is_large(answer):
            self.services.spawn(self._write_large(outcome, answer), "large record")
            return
        self.log.close(outcome, answer)
        self.services.recorder.put(self.record)

    async def _settle(self, outcome: Outcome) -> bool:
        if self.settled:
            return True
        answer = self._let_go(outcome.reason)
        if self.log.is_large(answer):  # in a task of its own: a caller who leaves now must not take the record along
            return await asyncio.shield(self.services.spawn(self._write_large(outcome, answer), "large record"))
        self.log.close(outcome, answer)
        return await self.services.recorder.write(self.record)

    def _let_go(self, reason: str | None) -> Answer | None:
        """Ends the last attempt and gives its place back: from here on only the record is to be made."""
        self.settled = True
        self.log.ended = time.perf_counter()
        return self._attempts.close(reason)

    async def _write_large(self, outcome: Outcome, answer: Answer | None) -> bool:
        await self.log.close_large(outcome, answer)
        return await self.services.recorder.write(self.record)

    async def clean(self, content: bytes) -> tuple[bytes, bool]:
        """A collected answer as its caller may see it, and whether that is all of it.

        Without the connection's secrets; what the API itself calls a token or a password stays, it is the caller's.
        """
        assert self.answer is not None
        return await self.log.readable(self.answer, content, self.services.settings.answer_bytes, by_name=False)
