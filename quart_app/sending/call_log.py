"""What is written down of a call while it is under way: a capped copy of its bodies, each attempt, how it ended.

The one place where a record is made: nothing gets into it but through the redactor.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uuid_utils import uuid7

from quart_app import records
from quart_app.outbound import codings
from quart_app.outbound.auth import Credential
from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.redaction.marks import NAMED
from quart_app.outbound.redaction.redactor import Redactor, own_secrets
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import Copy, content_headers

Response = tuple[str | None, bytes, bool]
"""An answer's media type, its body in clear and without secrets, and whether that is all of it."""

BODILESS = (101, 204, 304)
LARGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: `state` done, failed or cancelled; the reason and a sentence where it did not end well."""

    state: str
    reason: str | None = None
    detail: str | None = None


class CallLog:
    """The record of one call in the making. `credential` is the one that its present attempt goes with.

    `is_exact`, once it has ended: the record holds the answer's body just as it came.
    """

    def __init__(
        self, target: Target, outgoing: Outgoing, *, origin: str, actor: str, owner: str, replay_of: str | None
    ) -> None:
        self.id = str(uuid7())
        self.target = target
        self.outgoing = outgoing
        self._sent_url = str(outgoing.url)
        self._own_secrets = own_secrets(outgoing.headers, self._sent_url)
        self.credential = target.credential
        self._began = time.perf_counter()
        self.ended: float | None = None
        self._waited: dict[str, float] = {}
        cap = target.policy.record_bytes if target.policy.record_bodies else 0
        self.sent, self.received = Copy(cap), Copy(cap)
        self.record = records.new_call(
            target,
            id_=self.id,
            origin=origin,
            actor=actor,
            owner=owner,
            method=outgoing.method,
            url=self._url(),
            headers=self._headers(target.marks),
        )
        self.record.call["replay_of"] = replay_of
        self.is_exact = True

    @property
    def credential(self) -> Credential:
        return self._credential

    @credential.setter
    def credential(self, credential: Credential) -> None:
        self._credential = credential
        self.redactor: Redactor = credential.redactor.also(self._own_secrets)

    def _url(self) -> str:
        """The URL as recorded, with the credential's parameter as it may be shown."""
        return records.shown_url(self.redactor.url(self._sent_url), self.credential.shown_query)

    def _headers(self, shown: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers as recorded, with the credential's as they may be `shown`."""
        return [*self.redactor.headers(self.outgoing.headers), *shown]

    def waited(self, seconds: float, what: str | None) -> None:
        """Time that went by before the next attempt, and what it was spent on."""
        if what is not None:
            self._waited[what] = self._waited.get(what, 0.0) + seconds

    def attempt_ended(
        self,
        timings: Timings,
        *,
        status: int | None,
        reason: str | None,
        next_reason: str | None = None,
        url: str | None = None,
    ) -> None:
        timings.ended = timings.ended or time.perf_counter()
        waited, what = 0.0, None
        if self._waited:
            waited, what = sum(self._waited.values()), max(self._waited, key=lambda name: self._waited[name])
            self._settle_waits()
        records.add_attempt(
            self.record,
            timings,
            status=status,
            reason=reason,
            waited_seconds=waited,
            wait_reason=what,
            next_reason=next_reason,
            url=None if url is None else self.redactor.url(url),
            generation=self.credential.generation,
        )

    def none_followed(self, why: str | None) -> None:
        """The last attempt, if there was one, had said that another follows, and it never left."""
        if self.record.attempts:
            self.record.attempts[-1]["next_reason"] = why

    def _settle_waits(self) -> None:
        self.record.call["waited_seconds"] += round(sum(self._waited.values()), 6)
        self._waited.clear()

    async def so_far(self) -> Record:
        """What goes on record before the call leaves."""
        sent = self.sent
        large = len(sent.content) > LARGE_BYTES
        self._fill_request(await self._clean_request() if large else self._clean_request_at_once())
        return Record(dict(self.record.call), [], dict(self.record.bodies))

    def is_large(self, answer: Answer | None) -> bool:
        """Whether looking through the bodies takes so long that others must have their turn meanwhile."""
        received = self.received
        if len(self.sent.content) > LARGE_BYTES or len(received.content) > LARGE_BYTES:
            return True
        if answer is None or not received.size or received.cap <= 4 * LARGE_BYTES:
            return False
        return content_headers(answer.headers)[1] is not None

    def close(self, outcome: Outcome, answer: Answer | None) -> None:
        """Ends the record, at once: for bodies that are not large."""
        response = None
        if answer is not None and self._has_body(answer):
            received = self.received
            media_type, coding = content_headers(answer.headers)
            clear, whole = received.content, received.whole and outcome.state == "done"
            if coding and clear:
                clear, all_of_it = codings.clear_at_once(clear, coding, received.cap)
                whole = whole and all_of_it
            response = media_type, self.redactor.content(clear, cut=not whole, media_type=media_type), whole
        self._end(outcome, answer, self._clean_request_at_once(), response)

    async def close_large(self, outcome: Outcome, answer: Answer | None) -> None:
        """Ends the record; others have their turn meanwhile."""
        response = None
        if answer is not None and self._has_body(answer):
            received = self.received
            kept_whole = received.whole and outcome.state == "done"
            clean, whole = await self.readable(answer, received.content, received.cap, whole=kept_whole)
            response = content_headers(answer.headers)[0], clean, whole
        self._end(outcome, answer, await self._clean_request(), response)

    async def readable(
        self, answer: Answer, content: bytes, cap: int, *, whole: bool = True, by_name: bool = True
    ) -> tuple[bytes, bool]:
        """An answer's content in clear and without secrets, and whether that is all of it."""
        media_type, coding = content_headers(answer.headers)
        if coding and content:
            content, all_of_it = await codings.clear(content, coding, cap)
            whole = whole and all_of_it
        return await self.redactor.clean(content, cut=not whole, media_type=media_type if by_name else None), whole

    def _clean_request_at_once(self) -> bytes:
        if not self.sent.content:
            return b""
        media_type, _ = content_headers(self.outgoing.headers)
        return self.redactor.content(self.sent.content, cut=not self.sent.whole, media_type=media_type)

    async def _clean_request(self) -> bytes:
        media_type, _ = content_headers(self.outgoing.headers)
        return await self.redactor.clean(self.sent.content, cut=not self.sent.whole, media_type=media_type)

    def _has_body(self, answer: Answer) -> bool:
        return self.record.call["method"] != "HEAD" and answer.status not in BODILESS

    def _end(self, outcome: Outcome, answer: Answer | None, request: bytes, response: Response | None) -> None:
        call = self.record.call
        if self._waited:
            self._settle_waits()
        if self.credential is not self.target.credential:  # a token, of which only now is known what it looks like
            call["url"] = self._url()
            call["request_headers"] = records.as_json(self._headers(self.credential.shown))
        self._fill_request(request)
        if answer is not None:
            call["status"] = answer.status
            call["response_headers"] = records.as_json(self.redactor.headers(answer.headers, NAMED))
            if response is not None:
                self._fill_response(*response)
        call["state"], call["reason"], call["detail"] = outcome.state, outcome.reason, outcome.detail
        call["duration_seconds"] = round((self.ended or time.perf_counter()) - self._began, 6)

    def _fill_request(self, clean: bytes) -> None:
        if self.outgoing.body is None:
            return
        call = self.record.call
        call["request_size"] = self.sent.size
        call["request_media_type"], _ = content_headers(self.outgoing.headers)
        call["request_truncated"] = not self.sent.whole
        call["request_exact"] = clean is self.sent.content and self.sent.whole
        call["request_body"] = self.record.keep(clean) if clean else None

    def _fill_response(self, media_type: str | None, clean: bytes, whole: bool) -> None:
        call, received = self.record.call, self.received
        call["response_size"] = received.size
        call["response_media_type"] = media_type
        call["response_sha256"] = hashed = received.sha256()
        call["response_truncated"] = not whole
        self.is_exact = whole and clean is received.content
        if clean:
            as_it_came = clean is received.content and received.whole
            call["response_body"] = self.record.keep(clean, hashed if as_it_came else None)

    def websocket(self, counts: dict[str, Any]) -> None:
        """What a WebSocket carried, in the form of the API."""
        self.record.call["websocket"] = records.as_json(counts)
