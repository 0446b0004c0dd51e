"""What is written down of a call while it is under way: a capped copy of its bodies, each attempt, how it ended.

The one place where a record is made: nothing gets into it but through the redactor.
"""

import time
from typing import Any

from uuid_utils import uuid7

from quart_app import records
from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.redact import Redactor, own_secrets
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import Copy, content_headers

BODILESS = (204, 304)


class CallLog:
    """The record of one call in the making. `credential` is the one that its present attempt goes with."""

    def __init__(
        self, target: Target, outgoing: Outgoing, *, origin: str, actor: str, owner: str, replay_of: str | None
    ) -> None:
        self.id = str(uuid7())
        self.target = target
        self.outgoing = outgoing
        self.credential = target.credential
        self._own_secrets = own_secrets(outgoing.headers, str(outgoing.url))
        self._began = time.perf_counter()
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
            url=records.shown_url(self.redactor.url(str(outgoing.url)), target.credential.query),
            headers=[*self.redactor.headers(outgoing.headers), *target.marks],
        )
        self.record.call["replay_of"] = replay_of

    @property
    def redactor(self) -> Redactor:
        return self.credential.redactor.also(self._own_secrets)

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

    def _settle_waits(self) -> None:
        self.record.call["waited_seconds"] += round(sum(self._waited.values()), 6)
        self._waited.clear()

    def so_far(self) -> Record:
        """What goes on record before the call leaves."""
        self._fill_request()
        return Record(dict(self.record.call), [], dict(self.record.bodies))

    def close(self, state: str, reason: str | None, detail: str | None, answer: Answer | None) -> None:
        """Ends the record: `state` done, failed or cancelled, and the answer as far as it came."""
        call = self.record.call
        if self._waited:
            self._settle_waits()
        if answer is not None:
            call["status"] = answer.status
            self._fill_response(answer, came_whole=state == "done")
        self._fill_request()
        call["state"], call["reason"], call["detail"] = state, reason, detail
        call["duration_seconds"] = round(time.perf_counter() - self._began, 6)

    def _fill_request(self) -> None:
        call = self.record.call
        if self.outgoing.body is None:
            return
        clean = self.redactor.content(self.sent.content, cut=not self.sent.whole)
        call["request_size"] = self.sent.size
        call["request_media_type"], _ = content_headers(self.outgoing.headers)
        call["request_truncated"] = not self.sent.whole
        call["request_exact"] = clean is self.sent.content and self.sent.whole
        call["request_body"] = self.record.keep(clean) if clean else None

    def _fill_response(self, answer: Answer, *, came_whole: bool) -> None:
        call = self.record.call
        call["response_headers"] = records.as_json(self.redactor.headers(answer.headers))
        if call["method"] == "HEAD" or answer.status in BODILESS:
            return
        received = self.received
        media_type, coding = content_headers(answer.headers)
        kept_whole = came_whole and received.whole
        clean, whole = self.readable(received.content, coding, received.cap, whole=kept_whole)
        call["response_size"] = received.size
        call["response_media_type"] = media_type
        call["response_sha256"] = hashed = received.sha256()
        call["response_truncated"] = not whole
        if clean:
            as_it_came = clean is received.content and received.whole
            call["response_body"] = self.record.keep(clean, hashed if as_it_came else None)

    def readable(self, content: bytes, coding: bytes | None, cap: int, *, whole: bool = True) -> tuple[bytes, bool]:
        """An answer's content in clear and without secrets, and whether that is all of it."""
        clear, all_of_it = records.decoded(content, coding, cap) if coding and content else (content, True)
        whole = whole and all_of_it
        return self.redactor.content(clear, cut=not whole), whole

    def websocket(self, counts: dict[str, Any]) -> None:
        """What a WebSocket carried, in the form of the API."""
        self.record.call["websocket"] = records.as_json(counts)
