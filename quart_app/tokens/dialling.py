"""One request to a token endpoint, on record: no redirect, no repetition, in the time that such an endpoint gets."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from multidict import CIMultiDict
from yarl import URL

from quart_app import ledger
from quart_app.ledger import ClaimLost, Exchange, recording
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import Answer, AttemptFailed
from quart_app.outbound.oauth import GrantFailed, Issued
from quart_app.outbound.oauth.answers import ANSWER_BYTES, token_answer
from quart_app.outbound.oauth.refusals import judged
from quart_app.outbound.oauth.requests import TokenRequest
from quart_app.outbound.target import Target
from quart_app.outbound.told import told
from quart_app.services import Services
from quart_app.tokens.storing import Arrival, keep_safe
from quart_app.tokens.verdicts import DialFailed


async def dial(
    services: Services,
    target: Target,
    exchange: Exchange,
    request: TokenRequest,
    *,
    check: Callable[[Issued], Issued] = lambda issued: issued,
    actor: str = "",
) -> Arrival:
    """The token that a request gives, if it stands the `check`, in its slot. It is noted as sent before it is.

    Raises DialFailed, ClaimLost.
    """
    assert isinstance(target.auth, OAuth2)
    noted = await note_sent(services, target, exchange)
    asked_at = services.clock()
    head: list[Answer] = []

    def land(answer: Answer, issued: Issued) -> Arrival:
        arrival = Arrival(target.id, noted, check(issued), asked_at, actor, skew(services, answer))
        slot = keep_safe(services, arrival)
        services.reached("after_rescue")
        return replace(arrival, slot=slot)

    try:
        return await ask(services, target, exchange.id, request, land, head)
    except (AttemptFailed, GrantFailed) as error:
        if not head:
            raise DialFailed(error) from None
        ahead = skew(services, head[0])
        if isinstance(error, GrantFailed):
            error = judged(error, target.auth, ahead)
        raise DialFailed(error, head[0].status, ahead) from None


async def note_sent(services: Services, target: Target, exchange: Exchange) -> Exchange:
    """Raises ClaimLost. A process that stood still after its note asks anew whether it still may."""
    while True:
        began = time.monotonic()
        noted = await ledger.sent(services, target, exchange)
        if noted is None:
            raise ClaimLost
        services.reached("after_send")
        if time.monotonic() - began < ledger.LATE_SECONDS:
            return noted


async def ask(
    services: Services,
    target: Target,
    id_: str,
    request: TokenRequest,
    land: Callable[[Answer, Issued], Arrival],
    head: list[Answer],
) -> Arrival:
    """Sends it once, on record under `id_`; the answer goes into `head` as soon as it begins.

    Nothing stands between a token and where it will `land`; what is on record of its answer comes after.
    """
    assert isinstance(target.auth, OAuth2)
    secrets = request.secrets
    with recording.exchange(services, target, request.url, id_=id_, headers=request.headers, secrets=secrets) as entry:
        entry.sends(request.body)
        answer = await services.client.request(
            patient(target),
            "POST",
            URL(request.url, encoded=True),
            CIMultiDict(request.headers),
            request.body,
            entry.timings,
            total_seconds=ledger.TOKEN_SECONDS,
        )
        head.append(answer)
        entry.record.call["status"] = answer.status
        try:
            content = await whole(answer)
        finally:
            answer.close()
        services.reached("after_answer")
        try:
            wait, scope = told_to_wait(services, answer), target.auth.scope_as_sent
            issued = token_answer(answer.status, content, retry_after=wait, scope=scope, secrets=secrets)
            return land(answer, issued)
        finally:
            entry.answered(answer, content)


def patient(target: Target) -> Target:
    """The target with the time that a token endpoint gets, whatever the API's own calls get."""
    times = {"connect_seconds": 10.0, "first_byte_seconds": ledger.TOKEN_SECONDS, "idle_seconds": ledger.TOKEN_SECONDS}
    return replace(target, policy=target.policy.model_copy(update=times))


async def whole(answer: Answer) -> bytes:
    """The answer's content. Raises AttemptFailed, GrantFailed for one that is too long to be a token."""
    pieces = bytearray()
    while piece := await answer.read():
        pieces += piece
        if len(pieces) > ANSWER_BYTES:
            raise GrantFailed("The token endpoint's answer is too long to be one.", failure="odd_answer")
    return bytes(pieces)


def told_to_wait(services: Services, answer: Answer) -> float | None:
    """Seconds of its Retry-After."""
    found = told(answer.headers, answer.status, services.clock())
    return found.hold_seconds if found is not None else None


def skew(services: Services, answer: Answer) -> float | None:
    """How far our clock is ahead of the provider's Date (RFC 9110 §6.6.1), in whole seconds; None without one.

    Nor for one that is none, whatever it is: it comes with a token that must not be lost for it.
    """
    said = next((value for name, value in answer.headers if name.lower() == b"date"), b"")
    try:
        moment = parsedate_to_datetime(said.decode("latin-1"))
    except (ValueError, OverflowError):  # a year or an offset of twenty digits
        return None
    return float(round(services.clock() - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()))
