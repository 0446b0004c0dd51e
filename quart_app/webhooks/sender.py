"""Sends what is due: one delivery of a webhook after another, so that a slow receiver holds up nobody else's."""

import time
from contextlib import suppress

import structlog
from multidict import CIMultiDict
from yarl import URL

from quart_app.outbound.auth import NoAuth
from quart_app.outbound.client import Answer, AttemptFailed
from quart_app.outbound.retry import retry_after_seconds
from quart_app.outbound.target import Policy, Target
from quart_app.outbound.timings import Timings
from quart_app.outbound.urls import parse_base
from quart_app.outbound.ways import Tls, way_of
from quart_app.services import Services
from quart_app.webhooks import deliveries, signatures
from quart_app.webhooks.deliveries import Claim
from quart_app.webhooks.waits import LONGEST_TOLD_SECONDS, Outcome

TOTAL_SECONDS = 15.0
ANSWER_BYTES = 64 * 1024

log = structlog.get_logger()


class Sender:
    """This process's sender: at most one delivery of each webhook is on its way."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.busy: set[str] = set()

    async def tick(self) -> None:
        """Begins what is due, each webhook's in a task of its own; waits for none of them."""
        if self.services.draining:
            return
        async with self.services.db.session() as session:
            due = await deliveries.due(session, self.services.clock())
        for webhook_id in sorted(due - self.busy):
            self.busy.add(webhook_id)
            self.services.spawn(self._work(webhook_id), "webhook")

    async def _work(self, webhook_id: str) -> None:
        try:
            while not self.services.draining and await deliver(self.services, webhook_id):
                pass
        except Exception as error:  # the next tick comes all the same
            log.warning("webhook_task_failed", webhook=webhook_id, kind=type(error).__name__)
        finally:
            self.busy.discard(webhook_id)


async def deliver(services: Services, webhook_id: str) -> bool:
    """Makes one try of what is due first at a webhook; False if nothing is."""
    claim = await deliveries.claim(services, webhook_id)
    if claim is None:
        return False
    state = await deliveries.settle(services, claim, await post(services, claim))
    services.events.publish("delivery", {"webhook": webhook_id, "id": claim.id, "state": state})
    if state == "failed":
        log.warning("delivery_failed", webhook=webhook_id, delivery=claim.id, tries=claim.number + 1)
    return True


async def post(services: Services, claim: Claim) -> Outcome:
    """One POST, under the egress policy, without redirects. Any 2xx is good, whatever comes after its head."""
    now, body = services.clock(), claim.body.encode()
    signed = signatures.headers(claim.kept.secrets_at(now), claim.id, now, body)
    headers = CIMultiDict([("content-type", "application/json"), ("user-agent", "Switchboard-Webhooks"), *signed])
    began = time.perf_counter()
    try:
        answer = await services.client.request(
            target_of(claim),
            "POST",
            URL(claim.kept.url, encoded=True),
            headers,
            body,
            Timings(),
            total_seconds=TOTAL_SECONDS,
        )
    except AttemptFailed as error:
        return Outcome(reason=error.reason, detail=error.detail, seconds=time.perf_counter() - began)
    told = retry_after(answer, now)
    await drop(answer)
    return Outcome(status=answer.status, seconds=time.perf_counter() - began, retry_after=told)


def target_of(claim: Claim) -> Target:
    auth = NoAuth()
    policy = Policy(first_byte_seconds=TOTAL_SECONDS, idle_seconds=TOTAL_SECONDS, allow_private=claim.allow_private)
    return Target(
        id=claim.webhook_id,
        name=f"webhook {claim.webhook_id}",
        base=parse_base(claim.kept.url.partition("?")[0]),
        auth=auth,
        policy=policy,
        headers=[],
        state="ready",
        state_reason=None,
        credential=auth.credential(),
        injected=frozenset(),
        way=way_of(claim.webhook_id, allow_private=claim.allow_private, tls=Tls(), proxy=None),
    )


def retry_after(answer: Answer, now: float) -> float | None:
    value = next((value for name, value in answer.headers if name.lower() == b"retry-after"), None)
    return None if value is None else retry_after_seconds(value, now, longest=LONGEST_TOLD_SECONDS)


async def drop(answer: Answer) -> None:
    """Reads a short answer to its end, so that the connection can be kept; what it says is of no concern."""
    size = 0
    try:
        with suppress(AttemptFailed):
            while size <= ANSWER_BYTES and (piece := await answer.read()):
                size += len(piece)
    finally:
        answer.close()
